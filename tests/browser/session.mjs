// One Chromium with one page, and how a script of this directory ends.
import { chromium } from 'playwright-core'

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Opens `url` and gives the page to `work`; an error of the page's own scripts fails the script. */
export async function session(url, work) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: FLAGS,
    // The stack is on this machine, whatever proxy the machine has.
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name))),
  })
  try {
    // Production's certificate is self-signed.
    const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 900 } })
    const page = await context.newPage()
    const errors = []
    page.on('pageerror', (error) => errors.push(error))
    await page.goto(url)
    await work(page)
    if (errors.length > 0) throw new AggregateError(errors, `the page threw: ${errors.join('; ')}`)
  } finally {
    await browser.close()
  }
}
