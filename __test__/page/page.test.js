'use strict'

const crypto = require('node:crypto')
const os = require('node:os')
const lockFactory = require('../..')
const page = require('../../page')
const { servers } = require('../support/page')
const { introduced, redisScene } = require('../support/scene')
const { until } = require('../support/until')
const { browserScene, lists, rowsOf } = require('./support')

// First, as what it opens is closed before the servers are.
const open = browserScene()
const scene = redisScene()
const serve = servers()
const handlers = []

afterEach(() => {
  for (const handler of handlers.splice(0)) handler.close()
})

function pageOf(options, locker = scene.newLocker()) {
  const handler = page(locker, options)
  handlers.push(handler)
  return handler
}

/** A page in the browser, and its server. */
async function opened({ options, locker, ...how } = {}) {
  const server = await serve(pageOf(options, locker))
  return { ...server, browser: await open(`${server.url}/`, how) }
}

const rowOf = (browser, name) =>
  browser
    .locator('.rows')
    .getByRole('row')
    .filter({ has: browser.locator('.name').getByText(name) })
const status = (browser) => browser.getByRole('banner').getByRole('status').textContent()
const isLive = (browser) => until(async () => (await status(browser)) === 'Live', 'the page is live')

describe('the list', () => {
  it('says that there is nothing, and shows what is taken and given up', async () => {
    const { browser } = await opened({ options: { title: 'staging' } })
    await browser.getByText('Nothing is locked.').waitFor()
    expect(await browser.title()).toBe('staging · lock-inc')
    const locker = scene.newLocker()
    const [a, b] = [await locker.lock('a'), await locker.lock('b', { mode: 'shared' })]
    await lists(browser, 'a', 'b')
    expect(await rowOf(browser, 'b').textContent()).toContain(`shared${os.hostname()} · ${process.pid}`)
    await a.unlock()
    await lists(browser, 'b')
    await b.unlock()
    await browser.getByText('Nothing is locked.').waitFor()
  })

  it('shows who waits, and for how long', async () => {
    const locker = scene.newLocker()
    const lock = await locker.lock('a')
    const waiting = scene.newLocker().lock('a', { timeout: 60_000 })
    const { browser } = await opened()
    await rowOf(browser, 'a').locator('.chip').getByText('1').waitFor()
    expect(await rowOf(browser, 'a').locator('.waiting').textContent()).toMatch(/^1 \d+\.\d s$/)
    await lock.unlock()
    await (await waiting).unlock()
    await lists(browser)
  })

  it('has bars that run down with the lease, and go up with a renewal', async () => {
    const locker = scene.newLocker()
    await locker.lock('falling', { expire: 60 })
    await locker.lock('renewed', { expire: 3, renew: true })
    const { browser } = await opened()
    await lists(browser, 'falling', 'renewed')
    const share = (name) =>
      rowOf(browser, name)
        .locator('.left')
        .evaluate((bar) => Number(bar.style.transform.match(/[\d.]+/)[0]))
    const before = await share('falling')
    await until(async () => (await share('falling')) < before, 'it falls')
    let last = await share('renewed')
    await until(async () => {
      const now = await share('renewed')
      const isUp = now > last
      last = now
      return isUp
    }, 'it is renewed')
    expect(await share('falling')).toBeLessThan(before)
  })

  it('is narrowed down by text and by kind, and sorted by any column', async () => {
    const locker = scene.newLocker()
    for (const name of ['order:2', 'order:10', 'user:1']) await locker.lock(name)
    await locker.lock('prices', { mode: 'shared' })
    const { browser } = await opened()
    await lists(browser, 'order:2', 'order:10', 'prices', 'user:1')
    await browser.getByRole('button', { name: 'Name' }).click()
    expect(await rowsOf(browser)).toEqual(['order:2', 'order:10', 'prices', 'user:1'])
    await browser.getByRole('button', { name: 'Name' }).click()
    expect(await rowsOf(browser)).toEqual(['user:1', 'prices', 'order:10', 'order:2'])
    expect(await browser.getByRole('columnheader', { name: 'Name' }).getAttribute('aria-sort')).toBe(
      'descending',
    )
    await browser.getByRole('searchbox').fill('ORDER')
    expect(await rowsOf(browser)).toEqual(['order:10', 'order:2'])
    await browser.getByText('2 of 4 locks').waitFor()
    await browser.getByRole('searchbox').fill('')
    await browser.getByRole('button', { name: 'Shared' }).click()
    expect(await rowsOf(browser)).toEqual(['prices'])
  })

  it('scrolls through 10,000 locks with as many elements as for a few dozen', async () => {
    const memory = lockFactory({ driver: 'memory', settings: { prefix: crypto.randomUUID() } })
    const names = Array.from({ length: 10_000 }, (_, index) => `lock:${String(index).padStart(5, '0')}`)
    await Promise.all(names.map((name) => memory.lock(name, { expire: 600 })))
    const { browser } = await opened({ locker: memory })
    await browser.getByRole('button', { name: 'Name' }).click()
    await until(async () => (await rowsOf(browser)).includes('lock:00000'), 'the first ones are there')
    const grid = browser.getByRole('grid')
    expect(await grid.getAttribute('aria-rowcount')).toBe('10001')
    const elements = () => browser.evaluate(() => document.querySelectorAll('*').length)
    const atTop = await elements()
    expect(atTop).toBeLessThan(1500)
    for (const index of [5000, 9990, 20]) {
      await grid.evaluate((box, top) => box.scrollTo(0, top), index * 34)
      await until(async () => (await rowsOf(browser)).includes(names[index]), `${names[index]} is there`)
      expect(await elements()).toBeLessThan(1500)
    }
    // What is far away is not there.
    expect(await rowsOf(browser)).not.toContain(names[5000])
    await memory.close()
  })

  it('shows names as text, whatever they are', async () => {
    const evil = [
      '<img src=x onerror=alert(1)>',
      '</script><script>alert(2)</script>',
      '"><svg onload=alert(3)>',
      '{{alert(4)}}',
    ]
    const locker = scene.newLocker()
    for (const name of evil) await locker.lock(name)
    await locker.lock('turned \u202e round\u0000')
    const { browser } = await opened({ options: { title: evil[0] } })
    await lists(browser, ...evil, 'turned ⟨202e⟩ round␀')
    await rowOf(browser, '<img').click()
    await browser.getByRole('complementary').getByText('Nobody waits for it.').waitFor()
    expect(await browser.locator('img, main svg, body script').count()).toBe(1)
    expect(await browser.getByRole('heading', { level: 2, name: evil[0] }).count()).toBe(1)
  })
})

describe('the detail', () => {
  it('shows holder, token and queue of a lock, as long as it is open', async () => {
    const lock = await scene.newLocker().lock('a', { renew: true })
    const controllers = [1, 2].map(() => new AbortController())
    const calls = []
    for (const { signal } of controllers) {
      calls.push(
        scene
          .newLocker()
          .lock('a', { timeout: 60_000, signal })
          .catch(() => {}),
      )
      await scene.waiting('a', calls.length)
    }
    const { browser } = await opened()
    await rowOf(browser, 'a').click()
    const detail = browser.getByRole('complementary')
    await detail.getByText(String(lock.token)).waitFor()
    await detail.getByText('Queue of 2').waitFor()
    await detail.getByText('3 attempts since it was taken').waitFor()
    controllers[0].abort()
    await detail.getByText('Queue of 1').waitFor()
    controllers[1].abort()
    await detail.getByText('Nobody waits for it.').waitFor()
    await lock.unlock()
    await detail.getByText('Nobody holds it.').waitFor()
    await Promise.all(calls)
  })

  it('looks up a name that is not listed, as one that lock-inc 1.2.0 holds', async () => {
    await scene.server.call('SET', scene.key('old one'), '1', 'PX', 60_000)
    const { browser } = await opened()
    await browser.getByText('Nothing is locked.').waitFor()
    await browser.getByRole('searchbox').fill('old one')
    await browser.getByRole('button', { name: 'Look up this name' }).click()
    await browser.getByText('lock-inc 1.2.0, which does not tell who it is').waitFor()
  })

  it('shows what a client holds and waits for, and leads from one to the other', async () => {
    const locker = scene.newLocker()
    const other = await scene.newLocker().lock('b')
    await locker.lock('a')
    const waiting = locker.lock('b', { timeout: 60_000 })
    const { browser } = await opened()
    await rowOf(browser, 'a').click()
    await browser.getByRole('complementary').getByRole('link').click()
    const detail = browser.getByRole('complementary', { name: 'Client' })
    await detail.getByText('Holds 1').waitFor()
    await detail.getByText('Waits for 1').waitFor()
    expect(await rowsOf(browser, 'Clients')).toHaveLength(2)
    await detail.getByRole('link', { name: 'b' }).click()
    await browser.getByRole('complementary', { name: 'Lock b' }).waitFor()
    await browser.goBack()
    await browser.getByRole('complementary', { name: 'Client' }).waitFor()
    await other.unlock()
    await (await waiting).unlock()
  })

  it('does not look up a name that may have been cut', async () => {
    const name = 'ж'.repeat(200)
    await scene.newLocker().lock(name)
    const { browser } = await opened({ options: { allowUnlock: true } })
    await rowOf(browser, 'жжж').click()
    await browser.getByText('Names are told up to 256 bytes.').waitFor()
    expect(await browser.getByRole('button', { name: 'Force unlock…' }).count()).toBe(0)
  })
})

it('can be used by keyboard alone', async () => {
  const locker = scene.newLocker()
  for (let index = 0; index < 60; index++) await locker.lock(`lock ${index}`, { expire: 600 })
  const { browser } = await opened({ options: { allowUnlock: true } })
  await until(async () => (await rowsOf(browser)).includes('lock 0'), 'it lists')
  const press = async (...keys) => {
    for (const key of keys) await browser.keyboard.press(key)
  }
  const active = () =>
    browser.getByRole('grid').evaluate((grid) => {
      const id = grid.getAttribute('aria-activedescendant')
      return id && document.getElementById(id).querySelector('.name').textContent
    })
  const isActive = (name) => until(async () => (await active())?.trim() === name, `${name} is the active row`)
  await press('/')
  await browser.keyboard.type('lock')
  // To the kinds, the look-up and the grid.
  await press('Tab', 'Tab', 'Tab', 'Tab', 'Tab')
  await press('ArrowDown')
  await isActive('lock 0')
  await press('ArrowDown', 'ArrowDown')
  await isActive('lock 2')
  await press('End')
  await isActive('lock 59')
  await press('PageUp', 'Home')
  await isActive('lock 0')
  await press('Enter')
  await browser.getByRole('complementary', { name: 'Lock lock 0' }).waitFor()
  await browser.getByRole('button', { name: 'Force unlock…' }).waitFor()
  await press('Shift+Tab')
  await press('Escape')
  await browser.getByRole('complementary').waitFor({ state: 'detached' })
})

it.each([
  ['light', 'rgb(27, 32, 38)', 'rgb(246, 247, 248)'],
  ['dark', 'rgb(228, 232, 236)', 'rgb(18, 21, 26)'],
])('is %s where the system is', async (colorScheme, color, backgroundColor) => {
  const { browser } = await opened({ colorScheme })
  await isLive(browser)
  const style = await browser.evaluate(() => {
    const { color, backgroundColor } = getComputedStyle(document.body)
    return { color, backgroundColor }
  })
  expect(style).toEqual({ color, backgroundColor })
})

describe('force', () => {
  it('takes the lock away after a question that names the holder', async () => {
    const lock = await scene.newLocker().lock('a', { renew: true })
    await introduced(scene.newLocker(), 'a')
    const { browser } = await opened({ options: { allowUnlock: true } })
    await rowOf(browser, 'a').click()
    await browser.getByRole('button', { name: 'Force unlock…' }).click()
    const question = browser.getByRole('dialog')
    expect(await question.textContent()).toContain(`${os.hostname()} · ${process.pid}`)
    await question.getByRole('button', { name: 'Cancel' }).click()
    expect(lock.held).toBe(true)
    await browser.getByRole('button', { name: 'Force unlock…' }).click()
    await question.getByRole('button', { name: 'Force unlock' }).click()
    await browser.getByText('Nobody holds it.').waitFor()
    await until(() => !lock.held, 'the holder is told')
  })

  it('says what has changed where somebody else holds it by now', async () => {
    const locker = scene.newLocker()
    const lock = await locker.lock('a', { renew: true })
    await introduced(scene.newLocker(), 'a')
    const { browser } = await opened({
      options: { allowUnlock: true },
      expected: /409 \(Conflict\)/,
    })
    await rowOf(browser, 'a').click()
    await browser.getByRole('button', { name: 'Force unlock…' }).click()
    await lock.unlock()
    const next = await locker.lock('a')
    await browser.getByRole('dialog').getByRole('button', { name: 'Force unlock' }).click()
    await browser.getByText('It is not held by the same holders any more').waitFor()
    expect(next.held).toBe(true)
  })

  it('is not offered where it is not allowed', async () => {
    await scene.newLocker().lock('a')
    const { browser } = await opened()
    await rowOf(browser, 'a').click()
    await browser.getByRole('complementary').getByText('Nobody waits for it.').waitFor()
    expect(await browser.getByRole('button', { name: /Force/ }).count()).toBe(0)
  })
})

describe('trouble', () => {
  const away =
    /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/

  it('with the server of the page is said, and over when that is back', async () => {
    await scene.newLocker().lock('a', { expire: 600 })
    const { browser, url, stop } = await opened({ expected: away })
    await lists(browser, 'a')
    await stop()
    await browser.getByText('The server of this page does not answer').waitFor()
    expect(await status(browser)).toBe('Disconnected')
    // What was seen last is still there.
    expect(await rowsOf(browser)).toEqual(['a'])
    await scene.newLocker().lock('b', { expire: 600 })
    await serve(pageOf(), Number(new URL(url).port))
    await lists(browser, 'a', 'b')
    await isLive(browser)
    expect(await browser.getByText('The server of this page does not answer').count()).toBe(0)
  })

  it('with Redis is said, and over when that is back', async () => {
    const locker = scene.newLocker({ settings: { commandTimeout: 1000 } })
    const { browser } = await opened({ locker })
    await isLive(browser)
    await scene.server.kill()
    await browser.getByText('The locks cannot be listed:').waitFor()
    await scene.server.start()
    await isLive(browser)
    await scene.newLocker().lock('a')
    await lists(browser, 'a')
  })
})

it('is still while it is paused, and asks for nothing', async () => {
  const locker = scene.newLocker()
  await locker.lock('a', { expire: 600 })
  const { browser, server } = await opened()
  await lists(browser, 'a')
  await browser.getByRole('button', { name: 'Pause' }).click()
  await browser.getByText('Paused').waitFor()
  const lock = await locker.lock('b', { expire: 600 })
  const connections = () => new Promise((resolve) => server.getConnections((_, count) => resolve(count)))
  await until(async () => {
    server.closeIdleConnections()
    return (await connections()) === 0
  }, 'no stream is left')
  expect(await rowsOf(browser)).toEqual(['a'])
  await browser.getByRole('button', { name: 'Resume' }).click()
  await lists(browser, 'a', 'b')
  await lock.unlock()
})

it('shows what the calls of its process come to, unless that is left out', async () => {
  const locker = scene.newLocker()
  const { browser } = await opened()
  await isLive(browser)
  for (let index = 0; index < 3; index++) await (await locker.lock('a')).unlock()
  await browser.getByText('3 in 5 minutes').waitFor()
  await browser.getByText('Calls of this process only').waitFor()
  const { browser: other } = await opened({ options: { calls: false } })
  await isLive(other)
  expect(await other.getByText('Calls of this process only').count()).toBe(0)
})
