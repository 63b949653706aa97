'use strict'

const lockFactory = require('../..')
const { migrating } = require('../support/migrating')
const { freePort } = require('../support/redis-server')
const { connected, redisScene } = require('../support/scene')
const { rejection, until } = require('../support/until')

const { ConnectionError, ResourceLockedError } = lockFactory

// Not every runtime has them; then the tests try what they have in common with ours on ours alone.
const { locks } = globalThis.navigator ?? {}

const scene = redisScene()
let locker
/** Another one. */
let rival

beforeEach(async () => {
  locker = await connected(scene.newLocker())
  rival = await connected(scene.newLocker())
})

const scope = () => ({ navigator: { locks }, locker, work: () => 'done' })

/**
 * The sides of a row: `run` runs the code of a column, with `request` somebody else asks for the same, and `waiting`
 * waits until a call waits for the lock.
 */
const theirs = ({ old }) => ({
  run: old,
  request: (...args) => locks.request(...args),
  waiting: () => until(async () => (await locks.query()).pending.length === 1, 'a request waits'),
})
const ours = ({ here }) => ({
  run: here,
  request: (...args) => rival.request(...args),
  waiting: () => scene.waiting('invoice', 1),
})
const sidesOf = (code) => [...(locks ? [theirs(code)] : []), ours(code)]

const ends = []

// What a test has left would be in the way of the next one.
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** Somebody else holds the lock, until `end` is called; `ended` is what becomes of the request. */
async function hold(request, name = 'invoice', options = {}) {
  let ended
  const { promise: done, resolve: end } = deferred()
  ends.push(end)
  const lock = await new Promise((resolve, reject) => {
    ended = request(name, options, (lock) => {
      resolve(lock)
      return done
    })
    ended.catch(reject)
  })
  return { lock, end, ended }
}

function deferred() {
  let resolve
  const promise = new Promise((resolver) => {
    resolve = resolver
  })
  return { promise, resolve }
}

/** That the work gets a lock, and that what comes of it comes out. */
async function expectToRun(run, mode = 'exclusive') {
  const lock = await run({ work: (lock) => lock })
  expect(lock.name).toBe('invoice')
  expect(lock.mode).toBe(mode)
  const broken = () => Promise.reject(new Error('broken'))
  expect((await rejection(run({ work: broken }))).message).toBe('broken')
}

/** That the call waits for the end of the lock that somebody else has. */
async function expectToWait({ run, request, waiting }) {
  const holder = await hold(request)
  const events = []
  const waits = run({ work: () => events.push('work') })
  await waiting()
  events.push('end')
  holder.end()
  await waits
  expect(events).toEqual(['end', 'work'])
}

describe('from navigator.locks', () => {
  migrating('From navigator.locks', scope, {
    "await navigator.locks.request('invoice', work)": async (code) => {
      for (const side of sidesOf(code)) {
        await expectToRun(side.run)
        await expectToWait(side)
      }
      const { lock, end, ended } = await hold(rival.request)
      const { leaseLeft } = await rejection(locker.lock('invoice'))
      expect(leaseLeft).toBeGreaterThan(30_000)
      expect(leaseLeft).toBeLessThanOrEqual(60_000)
      expect(lock.token).toEqual(expect.any(Number))
      expect(lock.signal.aborted).toBe(false)
      end()
      await ended
    },

    "await navigator.locks.request('invoice', { mode: 'shared' }, work)": async (code) => {
      for (const side of sidesOf(code)) {
        const { run, request } = side
        await expectToRun(run, 'shared')
        await expectToWait(side)
        const reader = await hold(request, 'invoice', { mode: 'shared' })
        expect(await run()).toBe('done')
        expect(await request('invoice', { ifAvailable: true }, (lock) => lock)).toBeNull()
        reader.end()
        await reader.ended
      }
      const permit = await hold(rival.request, 'invoice', { mode: 'shared', limit: 1 })
      const options = { mode: 'shared', limit: 1, timeout: 0 }
      expect(await rejection(locker.request('invoice', options, () => {}))).toBeInstanceOf(
        ResourceLockedError,
      )
      permit.end()
      await permit.ended
    },

    "await navigator.locks.request('invoice', { ifAvailable: true }, work)": async (code) => {
      for (const { run, request } of sidesOf(code)) {
        await expectToRun(run)
        const holder = await hold(request)
        expect(await run({ work: (lock) => ({ lock }) })).toEqual({ lock: null })
        holder.end()
        await holder.ended
      }
      const away = scene.newLocker({ port: await freePort(), settings: { commandTimeout: 100 } })
      expect(await rejection(code.here({ locker: away }))).toBeInstanceOf(ConnectionError)
    },

    "await navigator.locks.request('invoice', { steal: true }, work)": async (code) => {
      for (const { run, request } of sidesOf(code)) {
        await expectToRun(run)
        const robbed = await hold(request)
        const told = rejection(robbed.ended)
        const thief = run({ work: () => robbed.lock })
        const error = await told
        expect(error).toBeInstanceOf(DOMException)
        expect(error.name).toBe('AbortError')
        expect(await thief).toBe(robbed.lock)
        // The callback goes on.
        robbed.end()
      }
      const robbed = await hold(rival.request)
      const told = rejection(robbed.ended)
      await code.here()
      await told
      await until(() => robbed.lock.signal.aborted, 'the callback is told')
      expect(robbed.lock.signal.reason.reason).toBe('stolen')
      robbed.end()
    },

    "await navigator.locks.request('invoice', { signal }, work)": async (code) => {
      for (const side of sidesOf(code)) {
        const controller = new AbortController()
        const { signal } = controller
        const run = (variables) => side.run({ signal, ...variables })
        await expectToRun(run)
        await expectToWait({ ...side, run })
        const holder = await hold(side.request)
        const reason = rejection(run({ work: () => 'too late' }))
        await side.waiting()
        controller.abort('no longer')
        expect(await reason).toBe('no longer')
        expect(await rejection(run())).toBe('no longer')
        holder.end()
        await holder.ended
      }
    },

    "await navigator.locks.request('invoice', { signal: AbortSignal.timeout(50) }, work)": async (code) => {
      const holders = []
      for (const { request } of sidesOf(code)) holders.push(await hold(request))
      if (locks) expect((await rejection(code.old())).name).toBe('TimeoutError')
      const error = await rejection(code.here())
      expect(error).toBeInstanceOf(ResourceLockedError)
      expect(error.holder.pid).toBe(process.pid)
      const options = { signal: AbortSignal.timeout(50) }
      expect((await rejection(locker.request('invoice', options, () => {}))).name).toBe('TimeoutError')
      for (const { end, ended } of holders) {
        end()
        await ended
      }
    },

    "await navigator.locks.request('', work)": async (code) => {
      for (const { run } of sidesOf(code)) expect(await run()).toBe('done')
      expect(await rejection(locker.request('', () => {}))).toBeInstanceOf(TypeError)
    },

    'await navigator.locks.query()': async (code) => {
      const holders = []
      const waits = []
      for (const { request, waiting } of sidesOf(code)) {
        holders.push(await hold(request))
        waits.push(request('invoice', { mode: 'shared' }, () => {}))
        await waiting()
      }
      for (const { run } of sidesOf(code)) {
        const told = async () => {
          const { held, pending } = await run()
          return held.length > 0 && pending.length > 0 && { held, pending }
        }
        const { held, pending } = await until(told, 'it is told')
        expect(held).toEqual([expect.objectContaining({ name: 'invoice', mode: 'exclusive' })])
        expect(pending).toEqual([expect.objectContaining({ name: 'invoice', mode: 'shared' })])
      }
      for (const { end, ended } of holders) {
        end()
        await ended
      }
      await Promise.all(waits)
    },
  })
})
