// Makes the pictures of the live page in docs/images, in Chromium, of lockers in this process's memory.
import { mkdirSync } from 'node:fs'
import http from 'node:http'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const require = createRequire(import.meta.url)
const lockFactory = require('..')
const page = require('../page')
const folder = fileURLToPath(new URL('../docs/images', import.meta.url))
const spec = { driver: 'memory', settings: { prefix: 'shop:' } }
const lockers = Array.from({ length: 6 }, () => lockFactory(spec))
const names = ['cart', 'invoice', 'order', 'parcel', 'stock', 'user']

/** What does not change: locks of some age, and one that many wait for. */
function begin() {
  for (let index = 0; index < 36; index++) {
    const name = `${names[index % names.length]}:${1000 + index * 37}`
    lockers[index % 5].lock(name, { expire: [30, 60, 300][index % 3], renew: index % 4 !== 0 })
  }
  for (const locker of lockers) {
    locker.lock('report:daily', { expire: 30, renew: true, timeout: Number.POSITIVE_INFINITY })
    locker.lock('price list', { mode: 'shared', renew: true })
  }
}

/** What comes and goes. */
async function goOn(signal) {
  for (let turn = 0; !signal.aborted; turn++) {
    const locker = lockers[turn % lockers.length]
    const work = async (lock) => {
      await sleep(100 + ((turn * 61) % 700))
      await lock.unlock()
    }
    locker.tryLock(`user:${turn % 7}`, turn % 3 ? { timeout: 2000 } : {}).then((lock) => lock && work(lock))
    await sleep(60 + ((turn * 37) % 120))
  }
}

const handler = page(lockFactory(spec), { allowUnlock: true, title: 'shop' })
const server = http.createServer(handler)
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking'],
})
const ending = new AbortController()
try {
  mkdirSync(folder, { recursive: true })
  begin()
  goOn(ending.signal)
  const view = await browser.newPage({ viewport: { width: 1280, height: 720 } })
  await view.goto(`http://127.0.0.1:${server.address().port}/`)
  // For the charts to have something to show.
  await sleep(Number(process.env.SECONDS ?? 60) * 1000)
  await view.getByRole('row').filter({ hasText: 'report:daily' }).click()
  await view.getByText('Queue of').waitFor()
  for (const colorScheme of ['light', 'dark']) {
    await view.emulateMedia({ colorScheme })
    await sleep(500)
    await view.screenshot({ path: `${folder}/page-${colorScheme}.png` })
    console.log(`screenshots: docs/images/page-${colorScheme}.png`)
  }
} finally {
  ending.abort()
  await browser.close()
  handler.close()
  server.close()
}
// There are calls that wait for ever.
process.exit()
