// Creates a job in the page, sees it listed, runs it and ends its run.
//   node page.mjs URL ENVIRONMENT JOB SCREENSHOT
import assert from 'node:assert/strict'
import { session } from './session.mjs'

const [url, environment, job, screenshot] = process.argv.slice(2)

await session(url, async (page) => {
  const part = (name) => page.getByTestId(name)
  await page.locator('[data-testid=health][data-status=healthy]').waitFor()
  assert.equal(await part('environment').textContent(), environment)
  assert.match(await part('title').textContent(), /Databricks Orchestrator/)

  await part('job-name').fill(job)
  await part('job-description').fill('made in a real browser')
  await part('job-create').click()
  const row = page.locator(`[data-testid=job][data-name="${job}"]`)
  await row.waitFor()
  assert.match(await row.textContent(), /made in a real browser/)
  assert.equal(await part('job-name').inputValue(), '', 'the form is empty again')

  await row.getByTestId('job-trigger').click()
  const run = page.locator(`[data-testid=run][data-job-name="${job}"]`)
  await run.waitFor()
  assert.equal(await run.getAttribute('data-status'), 'running')
  await run.getByTestId('run-succeed').click()
  await page.locator(`[data-testid=run][data-job-name="${job}"][data-status=succeeded]`).waitFor()

  await part('job-name').fill(job)
  await part('job-create').click()
  await part('error').waitFor()
  assert.match(await part('error').textContent(), /already/)

  await page.reload()
  await row.waitFor()
  await page.screenshot({ path: screenshot, fullPage: true })
})
console.log('DONE')
