'use strict'

const { channel, subscribe, unsubscribe } = require('node:diagnostics_channel')
const express = require('express')
const fastify = require('fastify')
const lockFactory = require('..')
const page = require('../page')
const { runNode } = require('./support/child')
const { ask, servers, watch } = require('./support/page')
const { redisScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

const scene = redisScene({ throughProxy: true })
const serve = servers()
const opened = []

afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})

/** A page of a locker of its own, or of a given one. */
function pageOf(options, locker = scene.newLocker()) {
  const handler = page(locker, options)
  opened.push(handler)
  return handler
}

/** Until it is closed. */
function listen(name, listener) {
  subscribe(name, listener)
  return { close: () => unsubscribe(name, listener) }
}

function watching(url, headers) {
  const viewer = watch(url, headers)
  opened.push(viewer)
  return viewer
}

describe('the page', () => {
  it('is one document with nothing from elsewhere, and a policy without exceptions', async () => {
    const { url } = await serve(pageOf())
    const { status, headers, text } = await ask(`${url}/`)
    expect(status).toBe(200)
    expect(headers['content-type']).toBe('text/html; charset=utf-8')
    expect(text).not.toMatch(/<(link|img|iframe)\b|<script[^>]+src|@import|url\(/)
    const policy = headers['content-security-policy']
    expect(policy).toMatch(/^default-src 'none'; script-src 'sha256-\S{44}'; style-src 'sha256-\S{44}';/)
    expect(policy).not.toMatch(/unsafe|\*|https?:|data:/)
    expect(headers).toMatchObject({
      'cache-control': 'no-store, no-transform',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    })
    expect((await ask(`${url}/icon.svg`)).headers['content-type']).toBe('image/svg+xml')
  })

  it('answers what it does not know with 404, and other methods with 405', async () => {
    const { url } = await serve(pageOf())
    for (const path of ['/other', '/events/more', '//', '/__proto__', '/toString']) {
      expect(await ask(url + path)).toMatchObject({ status: 404, json: { code: 'ERR_PAGE_NOT_FOUND' } })
    }
    expect(await ask(`${url}/`, { method: 'POST' })).toMatchObject({ status: 405 })
    expect(await ask(`${url}/unlock?name=a`)).toMatchObject({ status: 405 })
    expect(await ask(`${url}/`, { method: 'HEAD' })).toMatchObject({ status: 200, text: '' })
  })

  it('refuses wrong arguments by name', () => {
    const locker = scene.newLocker()
    const thrown = (...args) => {
      try {
        page(...args)
      } catch ({ name, code, message }) {
        return `${name} ${code} ${message}`
      }
    }
    expect(thrown()).toBe(
      'TypeError ERR_INVALID_ARG_TYPE locker must be one that lockFactory has made, got undefined',
    )
    expect(thrown(locker, { basepath: '/a' })).toBe(
      'TypeError ERR_UNKNOWN_OPTION options has no option "basepath"; did you mean "basePath"?',
    )
    expect(thrown(locker, { basePath: 'locks' })).toBe(
      'TypeError ERR_INVALID_ARG_TYPE options.basePath must be a path such as \'/locks\', got "locks"',
    )
    expect(thrown(locker, { allowUnlock: 'yes' })).toMatch(/ERR_INVALID_ARG_TYPE options.allowUnlock must be/)
    expect(thrown(locker, 'yes')).toMatch(/ERR_INVALID_ARG_TYPE options must be an object/)
  })
})

describe('the listing', () => {
  it('tells a browser everything at first, and then what changes', async () => {
    const locker = scene.newLocker()
    await locker.lock('a', { mode: 'shared', expire: 20 })
    const { url } = await serve(pageOf({ title: 'staging' }))
    const viewer = watching(`${url}/events`)
    expect(await viewer.heard('hello')).toMatchObject({
      title: 'staging',
      token: null,
      process: { pid: process.pid },
    })
    await viewer.lists('a')
    const b = await locker.lock('b')
    await viewer.lists('a', 'b')
    const { now, put } = viewer.events.findLast(({ data }) => data.put?.length > 0).data
    expect(put).toMatchObject([
      { kind: 'held', name: 'b', mode: 'exclusive', pid: process.pid, token: b.token },
    ])
    expect(put[0].end - now).toBeGreaterThan(50_000)
    expect(put[0].end - now).toBeLessThanOrEqual(60_000)
    const waiting = locker.lock('b', { timeout: 30_000 })
    await viewer.lists('a', 'b', 'b')
    expect([...viewer.entries.values()].map(({ kind }) => kind)).toEqual(['held', 'held', 'pending'])
    await b.unlock()
    await (await waiting).unlock()
    await viewer.lists('a')
    // What has not changed was not told again.
    const told = viewer.events.flatMap(({ data }) => data.put ?? []).filter(({ name }) => name === 'a')
    expect(told.length).toBe(1)
  })

  it('tells calls apart that one locker made in the same millisecond', async () => {
    const locker = scene.newLocker()
    await locker.lock('a')
    const controller = new AbortController()
    const { signal } = controller
    const calls = Array.from({ length: 5 }, () => rejection(locker.lock('a', { timeout: 60_000, signal })))
    const { url } = await serve(pageOf({}, locker))
    const viewer = watching(`${url}/events`)
    await viewer.lists('a', 'a', 'a', 'a', 'a', 'a')
    controller.abort()
    await Promise.all(calls)
    await viewer.lists('a')
  })

  it('costs the server the same however many look, and nothing when nobody does', async () => {
    const locker = scene.newLocker()
    await locker.lock('a', { expire: 600 })
    const { url } = await serve(pageOf())
    const first = watching(`${url}/events`)
    await first.lists('a')
    const others = Array.from({ length: 20 }, () => watching(`${url}/events`))
    await Promise.all(others.map((viewer) => viewer.lists('a')))
    const listingsDuring = async (events) => {
      await scene.server.call('CONFIG', 'RESETSTAT')
      const before = first.events.length
      await until(() => first.events.length >= before + events, 'it is told so often')
      return scene.server.commandCount('evalsha')
    }
    // One for each event, and one that may be under way at either end.
    expect(await listingsDuring(4)).toBeLessThanOrEqual(5)
    for (const viewer of [first, ...others]) viewer.close()
    // One may be under way still.
    await until(async () => {
      await scene.server.call('CONFIG', 'RESETSTAT')
      await new Promise((resolve) => setTimeout(resolve, 2500))
      return (await scene.server.commandCount('evalsha')) === 0
    }, 'nothing is listed any more')
    const again = watching(`${url}/events`)
    await again.lists('a')
  })

  it('says what is wrong while there is no server, and goes on when it is back', async () => {
    const locker = scene.newLocker()
    await locker.lock('a', { expire: 600 })
    const own = scene.newLocker({ settings: { commandTimeout: 1500 } })
    const { url } = await serve(pageOf({}, own))
    const viewer = watching(`${url}/events`)
    await viewer.lists('a')
    await scene.server.call('CLIENT', 'PAUSE', 60_000, 'ALL').catch(() => {})
    expect(await viewer.heard('late')).toMatchObject({ since: expect.any(Number) })
    expect(await viewer.heard('trouble')).toMatchObject({ code: 'ERR_CONNECTION' })
    const troubles = viewer.events.length
    await scene.server.kill()
    await scene.server.start()
    await until(
      () => viewer.events.slice(troubles).some(({ event }) => event === 'changes'),
      'it lists again',
    )
    await viewer.lists()
  })

  it('inspects a name once for all who ask within a second', async () => {
    const locker = scene.newLocker()
    const lock = await locker.lock('a/b?c')
    const { url } = await serve(pageOf())
    const looks = `${url}/inspect?name=${encodeURIComponent('a/b?c')}`
    const [answer] = await Promise.all(Array.from({ length: 10 }, () => ask(looks)))
    expect(answer.json.found).toMatchObject({ count: 1, holders: [{ pid: process.pid }], waiters: [] })
    expect(answer.json.found.holders[0].end).toBeGreaterThan(answer.json.now)
    await lock.unlock()
    const free = async () => (await ask(looks)).json.found === null
    await until(free, 'it is seen to be free')
    expect(await ask(`${url}/inspect`)).toMatchObject({ status: 400, json: { code: 'ERR_INVALID_ARG_TYPE' } })
  })

  it('ends with close(), and refuses whoever comes after that', async () => {
    const handler = pageOf()
    const { url } = await serve(handler)
    const viewer = watching(`${url}/events`)
    await viewer.heard('all')
    const acquire = channel('lock-inc:acquire')
    expect(acquire.hasSubscribers).toBe(true)
    handler.close()
    await until(() => viewer.isEnded, 'the stream ends')
    expect(acquire.hasSubscribers).toBe(false)
    expect(await ask(`${url}/events`)).toMatchObject({ status: 503, json: { code: 'ERR_PAGE_CLOSED' } })
  })
})

describe('the calls of this process', () => {
  it('are counted by the second: grants with their waits, refusals and losses', async () => {
    const locker = scene.newLocker()
    // Lockers that other test files have left behind in this process are counted, too.
    const heard = { grants: [], refusals: [], losses: [] }
    const { url } = await serve(pageOf())
    const ends = Object.entries({ grants: 'acquire', refusals: 'contended', losses: 'lost' }).map(
      ([kind, name]) => listen(`lock-inc:${name}`, ({ prefix }) => heard[kind].push(prefix)),
    )
    opened.push(...ends)
    const viewer = watching(`${url}/events`)
    await viewer.heard('all')
    const lock = await locker.lock('a')
    await rejection(locker.lock('a'))
    await rejection(locker.lock('a'))
    await scene.newLocker().forceUnlock('a')
    await until(() => lock.signal.aborted, 'it is lost')
    const ours = Object.values(heard).map((prefixes) => prefixes.filter((one) => one === scene.prefix).length)
    expect(ours).toEqual([1, 2, 1])
    const sumOf = (numbers) => numbers.reduce((sum, number) => sum + number, 0)
    const total = (kind) =>
      sumOf(
        viewer.events
          .flatMap(({ data }) => data.rates ?? [])
          .map((second) => (kind === 'waits' ? sumOf(second.waits) : second[kind])),
      )
    const isTold = (kind) => total(kind) === heard[kind].length
    await until(() => Object.keys(heard).every(isTold) && total('waits') === total('grants'), 'all is told')
    // Whoever comes later is told the same at once.
    const later = watching(`${url}/events`)
    const { rates } = await later.heard('all')
    expect(sumOf(rates.map(({ refusals }) => refusals))).toBe(heard.refusals.length)
  })

  it('are left out with calls: false, and cost nothing', async () => {
    const { url } = await serve(pageOf({ calls: false }))
    expect(channel('lock-inc:acquire').hasSubscribers).toBe(false)
    const viewer = watching(`${url}/events`)
    expect(await viewer.heard('hello')).toMatchObject({ process: null })
    expect(await viewer.heard('all')).not.toHaveProperty('rates')
  })
})

describe('force', () => {
  /** A lock of `a`, a page, and what its browser would send to take it away. */
  async function held(options) {
    const lock = await scene.newLocker().lock('a', { renew: true })
    const { url } = await serve(pageOf(options))
    const { token } = await watching(`${url}/events`).heard('hello')
    const headers = { 'X-Lock-Inc-Token': token ?? 'none', Origin: url }
    const force = (changed = {}, holders) =>
      ask(`${url}/unlock?${new URLSearchParams({ name: 'a', holders: holders ?? lock.token })}`, {
        method: 'POST',
        headers: JSON.parse(JSON.stringify({ ...headers, ...changed })),
      })
    await until(async () => (await scene.newLocker().inspect('a')).holders[0].token !== null, 'it is known')
    return { url, lock, token, force }
  }

  it('takes a lock from its holder, where that is allowed', async () => {
    const { lock, force } = await held({ allowUnlock: true })
    expect(await force()).toMatchObject({ status: 200, json: { unlocked: true } })
    await until(() => lock.signal.aborted, 'the holder is told')
    expect(lock.signal.reason).toMatchObject({ reason: 'purged' })
  })

  it('is not to be had where it is not allowed', async () => {
    const { lock, token, force } = await held({})
    expect(token).toBeNull()
    expect(await force()).toMatchObject({ status: 403, json: { code: 'ERR_PAGE_FORBIDDEN' } })
    expect(lock.held).toBe(true)
  })

  it('is for those of whom a function says so, of each request', async () => {
    const asked = []
    const allowUnlock = async ({ headers, url }) => {
      asked.push(url.split('?')[0])
      return headers['x-role'] === 'admin'
    }
    const { lock, url, force } = await held({ allowUnlock })
    expect(await force({ 'X-Role': 'admin' })).toMatchObject({ status: 403 })
    const { token } = await watching(`${url}/events`, { 'X-Role': 'admin' }).heard('hello')
    expect(await force({ 'X-Lock-Inc-Token': token })).toMatchObject({ status: 403 })
    expect(lock.held).toBe(true)
    expect(await force({ 'X-Lock-Inc-Token': token, 'X-Role': 'admin' })).toMatchObject({ status: 200 })
    expect(new Set(asked)).toEqual(new Set(['/events', '/unlock']))
  })

  it.each([
    ['without the token', { 'X-Lock-Inc-Token': undefined }],
    ['with another token', { 'X-Lock-Inc-Token': 'x'.repeat(24) }],
    ['from another site', { 'Sec-Fetch-Site': 'cross-site' }],
    ['from another host of the same site', { 'Sec-Fetch-Site': 'same-site' }],
    ['of another origin', { Origin: 'http://evil.example' }],
    ['of no origin that is known', { Origin: 'null' }],
    ['that does not say whence it comes', { Origin: undefined }],
  ])('is refused to a request %s', async (_, changed) => {
    const { lock, force } = await held({ allowUnlock: true })
    expect(await force(changed)).toMatchObject({ status: 403, json: { code: 'ERR_PAGE_FORBIDDEN' } })
    expect(lock.held).toBe(true)
  })

  it('leaves a lock alone that somebody else holds than was asked about', async () => {
    const { lock, force } = await held({ allowUnlock: true })
    expect(await force({}, String(lock.token - 1))).toMatchObject({
      status: 409,
      json: { code: 'ERR_PAGE_CHANGED' },
    })
    expect(lock.held).toBe(true)
  })

  it('keeps other sites from reading, too', async () => {
    const { url } = await serve(pageOf())
    for (const path of ['/events', '/inspect?name=a']) {
      const headers = { 'Sec-Fetch-Site': 'cross-site' }
      expect(await ask(url + path, { headers })).toMatchObject({ status: 403 })
    }
  })

  it('says in the log what is wrong with the function, and tells the browser nothing of it', async () => {
    // In a process of its own: in that of jest, nobody hears warnings.
    const { messages, child } = runNode(
      `
      process.on('warning', ({ code, message }) => tell({ code, message }))
      const locker = lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } })
      const allowUnlock = () => { throw new Error('of the session store') }
      const server = require('node:http').createServer(require(args.page)(locker, { allowUnlock }))
      server.listen(0, '127.0.0.1', () => tell({ port: server.address().port }))
      `,
      { page: require.resolve('../page') },
    )
    const { port } = await until(() => messages[0], 'it listens')
    const { status, text } = await ask(`http://127.0.0.1:${port}/events`)
    expect(status).toBe(500)
    expect(text).not.toContain('session store')
    expect(await until(() => messages[1], 'it warns')).toEqual({
      code: 'LOCK_INC_PAGE',
      message: expect.stringContaining('of the session store'),
    })
    child.kill()
  })
})

describe('a page that is mounted', () => {
  /** That all of it is there, below a path. */
  async function works(url) {
    const lock = await scene.newLocker().lock('a')
    expect((await ask(url)).text).toMatch(/^<!doctype html>/)
    expect((await ask(`${url}/`)).text).toMatch(/^<!doctype html>/)
    const viewer = watching(`${url}/events`)
    await viewer.lists('a')
    const { token } = await viewer.heard('hello')
    const path = `/unlock?name=a&holders=${lock.token}`
    const headers = { 'X-Lock-Inc-Token': token, Origin: new URL(url).origin }
    expect(await ask(url + path, { method: 'POST', headers })).toMatchObject({ status: 200 })
    viewer.close()
  }

  it('with node:http is below basePath, and nowhere else', async () => {
    const { url } = await serve(pageOf({ allowUnlock: true, basePath: '/admin/locks/' }))
    await works(`${url}/admin/locks`)
    for (const path of ['/', '/admin', '/admin/lockssmith', '/events']) {
      expect(await ask(url + path)).toMatchObject({ status: 404 })
    }
  })

  it.each([[undefined], ['/admin/locks']])('with Express, and a basePath of %j', async (basePath) => {
    const app = express()
    app.use(express.json())
    app.use('/admin/locks', pageOf({ allowUnlock: true, basePath }))
    app.use((_request, response) => response.status(418).end())
    const { url } = await serve(app)
    await works(`${url}/admin/locks`)
    expect(await ask(`${url}/admin/locks/other`)).toMatchObject({ status: 418 })
  })

  it('with Express hands its own errors on', async () => {
    const app = express()
    app.use(
      pageOf({
        allowUnlock: () => {
          throw new Error('of the session store')
        },
      }),
    )
    app.use((error, _request, response, _next) => response.status(500).end(`handled: ${error.message}`))
    const { url } = await serve(app)
    expect(await ask(`${url}/events`)).toMatchObject({ status: 500, text: 'handled: of the session store' })
  })

  it('with Fastify, which ends although somebody looks', async () => {
    const app = fastify()
    const handler = pageOf({ allowUnlock: true, basePath: '/admin/locks' })
    const locks = (request, reply) => {
      reply.hijack()
      handler(request.raw, reply.raw)
    }
    app.all('/admin/locks', locks)
    app.all('/admin/locks/*', locks)
    app.addHook('preClose', async () => handler.close())
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    await works(`${url}/admin/locks`)
    const viewer = watching(`${url}/admin/locks/events`)
    await viewer.heard('all')
    await app.close()
    await until(() => viewer.isEnded, 'the stream ends')
  })
})

it('lists locks of the memory driver', async () => {
  const locker = lockFactory({ driver: 'memory', settings: { prefix: scene.prefix } })
  await locker.lock('a')
  const { url } = await serve(pageOf({}, locker))
  await watching(`${url}/events`).lists('a')
  await locker.close()
})
