// Keeps a page open, says READY, and waits until its title reads TEXT; fails if the page was loaded anew for that.
//   node reload.mjs URL TEXT
import assert from 'node:assert/strict'
import { session } from './session.mjs'

const [url, text] = process.argv.slice(2)

await session(url, async (page) => {
  const connected = page.waitForEvent('console', (message) => message.text().includes('[vite] connected'))
  await page.reload()
  await connected
  await page.getByTestId('title').waitFor()
  await page.evaluate(() => {
    window.sameDocument = true
  })
  console.log('READY')
  await page.getByTestId('title').filter({ hasText: text }).waitFor({ timeout: 60_000 })
  assert.equal(await page.evaluate(() => window.sameDocument), true, 'the page was loaded anew')
})
console.log('DONE')
