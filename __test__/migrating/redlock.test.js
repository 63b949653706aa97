'use strict'

const { subscribe, unsubscribe } = require('node:diagnostics_channel')
const Redis = require('ioredis')
const { ExecutionError, default: Redlock, ResourceLockedError: RedlockLockedError } = require('redlock')
const lockFactory = require('../..')
const { insisting, migrating, run, sections, timed } = require('../support/migrating')
const { otherScene } = require('../support/other-libraries')
const { freePort } = require('../support/redis-server')
const { connected } = require('../support/scene')
const { rejection, until } = require('../support/until')

const { ClosedError, ConnectionError, LockLostError, ResourceLockedError } = lockFactory

const scene = otherScene()
const work = () => 'done'
let redlock
/** Asks once. */
let impatient
let locker
/** Another one. */
let rival

beforeEach(async () => {
  redlock = new Redlock([scene.client])
  impatient = new Redlock([scene.client], { retryCount: 0 })
  locker = await connected(scene.newLocker())
  rival = await connected(scene.newLocker())
})

/** Both have the lock, with what is left of a lease of 5 s. */
async function expectFiveSeconds(theirs, ours, resource = 'invoice') {
  for (const left of [await scene.client.pttl(resource), ours.remaining()]) {
    expect(left).toBeGreaterThan(2500)
    expect(left).toBeLessThanOrEqual(5000)
  }
  expect(await rival.isLocked(resource)).toBe(true)
  await theirs.release()
  expect(await ours.unlock()).toBe(true)
}

/** Somebody else has the lock, in both. */
async function taken(resource = 'invoice') {
  const theirs = await impatient.acquire([resource], 60_000)
  const ours = await rival.lock(resource)
  return { theirs, ours, release: () => Promise.all([theirs.release(), ours.unlock()]) }
}

/** That both calls wait for a lock that somebody else has, and have it afterwards. */
async function expectToWait({ old, here }, resource = 'invoice') {
  const holder = await taken(resource)
  const polls = jest.fn()
  redlock.on('error', polls)
  const [theirs, ours] = [old(), here()]
  await scene.waiting(resource, 1)
  await until(() => polls.mock.calls.length >= 1, 'redlock has been refused')
  await holder.release()
  await expectFiveSeconds(await theirs, await ours, resource)
}

const scope = () => ({ redlock, locker, work, Redlock, Redis, lockFactory, port: scene.server.port })

describe('from redlock', () => {
  migrating('From redlock', scope, {
    'new Redlock([new Redis({ port })])': async ({ old, here }) => {
      const [theirs, ours] = [await old(), await here()]
      const resource = `${scene.prefix}invoice`
      const [lock] = await Promise.all([theirs.acquire([resource], 5000), ours.lock(resource)])
      expect(await scene.client.exists('invoice')).toBe(0)
      expect(await scene.server.call('EXISTS', resource)).toBe(1)
      expect(await scene.server.call('EXISTS', `lock:${lockFactory.hash(resource)}`)).toBe(1)
      await Promise.all([lock.release(), ours.unlock(resource)])
      await Promise.all([theirs.quit(), ours.close()])
    },

    "await redlock.acquire(['invoice'], 5000)": async ({ old, here }) => {
      await expectFiveSeconds(await old(), await here())
      await expectToWait({ old, here })
    },

    "await redlock.acquire(['invoice'], 5000, { retryCount: 0 })": async ({ old, here }) => {
      await expectFiveSeconds(await old(), await here())
      const holder = await taken()
      const [theirs, ours] = await Promise.all([old(), here()].map(rejection))
      expect(theirs).toBeInstanceOf(ExecutionError)
      const [attempt, ...more] = await Promise.all(theirs.attempts)
      expect(more).toEqual([])
      expect([...attempt.votesAgainst.values()]).toEqual([expect.any(RedlockLockedError)])
      expect(ours).toBeInstanceOf(ResourceLockedError)
      expect(ours.holder.pid).toBe(process.pid)
      expect(ours.leaseLeft).toBeGreaterThan(30_000)
      await holder.release()
    },

    "await redlock.acquire(['invoice'], 5000, { retryCount: 5, retryDelay: 100, retryJitter: 20 })": async ({
      old,
      here,
    }) => {
      await expectFiveSeconds(await old(), await here())
      const holder = await taken()
      const [theirs, ours] = await Promise.all([old, here].map(timed))
      expect(theirs.answer.attempts).toHaveLength(6)
      expect(theirs.time).toBeGreaterThanOrEqual(5 * (100 - 20))
      expect(ours.answer).toBeInstanceOf(ResourceLockedError)
      expect(ours.answer.position).toBe(1)
      expect(ours.time).toBeGreaterThanOrEqual(5 * 100)
      await holder.release()
      const away = scene.newLocker({ port: await freePort() })
      expect(await rejection(here({ locker: away }))).toBeInstanceOf(ConnectionError)
    },

    "await redlock.acquire(['invoice'], 5000, { retryCount: -1 })": async ({ old, here }) => {
      await expectFiveSeconds(await old(), await here())
      await expectToWait({ old, here })
      const holder = await taken()
      const controller = new AbortController()
      const { signal } = controller
      const waits = here({ locker: insisting({ signal }, locker) }).catch((error) => error)
      await scene.waiting('invoice', 1)
      controller.abort('no longer')
      expect(await waits).toBe('no longer')
      await holder.release()
    },

    "await redlock.acquire(['invoice'], 5000, { driftFactor: 0.02 })": async ({ old, here }) => {
      const [theirs, ours] = [await old(), await here()]
      expect(theirs.expiration - Date.now()).toBeLessThanOrEqual(4898)
      expect(ours.remaining()).toBeLessThanOrEqual(4948)
      await expectFiveSeconds(theirs, ours)
      expect(() => locker.lock('invoice', { driftFactor: 0.02 })).toThrow(
        expect.objectContaining({ code: 'ERR_UNKNOWN_OPTION' }),
      )
    },

    "await redlock.acquire(['invoice', 'stock'], 5000)": async ({ old, here }) => {
      const [theirs, ours] = [await old(), await here()]
      for (const resource of ['invoice', 'stock']) {
        expect(await scene.client.exists(resource)).toBe(1)
        expect(await rival.isLocked(resource)).toBe(true)
      }
      expect(ours.resourceIds).toEqual(theirs.resources)
      await expectFiveSeconds(theirs, ours, 'stock')
      await expectToWait({ old, here }, 'stock')

      const holder = await taken('stock')
      const refused = rejection(old({ redlock: impatient }))
      expect((await refused).message).not.toContain('stock')
      const ourRefusal = await rejection(here({ locker: insisting({ timeout: 0 }, locker) }))
      expect(ourRefusal).toMatchObject({ code: 'ERR_RESOURCE_LOCKED', resourceId: 'stock' })
      expect(await rival.isLocked('invoice')).toBe(false)
      await holder.release()
    },

    'await lock.release()': async ({ old, here }) => {
      const holder = await taken()
      await old({ lock: holder.theirs })
      expect(await here({ lock: holder.ours })).toBe(true)
      expect(await scene.client.exists('invoice')).toBe(0)
      expect(await locker.isLocked('invoice')).toBe(false)

      const [theirs, ours] = [await redlock.acquire(['invoice'], 5000), await rival.lock('invoice')]
      await Promise.all([scene.client.del('invoice'), locker.forceUnlock('invoice')])
      const [error, answer] = await Promise.all([rejection(old({ lock: theirs })), here({ lock: ours })])
      expect(error).toBeInstanceOf(ExecutionError)
      expect(error.attempts).toHaveLength(11)
      expect(answer).toBe(false)
    },

    'lock = await lock.extend(5000)': async ({ old, here }) => {
      const theirs = await impatient.acquire(['invoice'], 60_000)
      const ours = await rival.lock('invoice')
      const extended = await old({ lock: theirs })
      expect(extended).not.toBe(theirs)
      expect(await here({ lock: ours })).toBe(true)
      await expectFiveSeconds(extended, ours)

      const lost = await taken()
      await Promise.all([scene.client.del('invoice'), locker.forceUnlock('invoice')])
      expect(await rejection(old({ lock: lost.theirs }))).toBeInstanceOf(ExecutionError)
      expect(await here({ lock: lost.ours })).toBe(false)
    },

    'lock.expiration - Date.now()': async ({ old, here }) => {
      const [theirs, ours] = [
        await impatient.acquire(['invoice'], 5000),
        await rival.lock('invoice', { expire: 5 }),
      ]
      for (const left of [await old({ lock: theirs }), await here({ lock: ours })]) {
        expect(left).toBeGreaterThan(2500)
        expect(left).toBeLessThanOrEqual(4948)
      }
      await Promise.all([theirs.release(), ours.unlock()])
      expect(await old({ lock: theirs })).toBeLessThan(0)
      expect(await here({ lock: ours })).toBe(0)
    },

    'lock.value': async ({ old, here }) => {
      const values = []
      const tokens = []
      for (let turn = 0; turn < 3; turn++) {
        const holder = await taken()
        values.push(await old({ lock: holder.theirs }))
        tokens.push(await here({ lock: holder.ours }))
        await holder.release()
      }
      expect(new Set(values).size).toBe(3)
      for (const value of values) expect(value).toMatch(/^[\da-f]{32}$/)
      expect(tokens[1]).toBeGreaterThan(tokens[0])
      expect(tokens[2]).toBeGreaterThan(tokens[1])
    },

    "await redlock.using(['invoice'], 5000, (signal) => work(signal))": async ({ old, here }) => {
      const held = async () => [await scene.client.exists('invoice'), await rival.isLocked('invoice')]
      const look = async (signal) => {
        expect(signal.aborted).toBe(false)
        const left =
          (await rival.inspect('invoice'))?.holders[0].leaseLeft ?? (await scene.client.pttl('invoice'))
        expect(left).toBeGreaterThan(2500)
        expect(left).toBeLessThanOrEqual(5000)
        return held()
      }
      expect(await old({ work: look })).toEqual([1, false])
      expect(await here({ work: look })).toEqual([0, true])
      expect(await held()).toEqual([0, false])
      const broken = () => Promise.reject(new Error('broken'))
      for (const run of [old, here]) expect((await rejection(run({ work: broken }))).message).toBe('broken')
      expect(await held()).toEqual([0, false])

      const lose = async () => {
        await Promise.all([scene.client.del('invoice'), rival.forceUnlock('invoice')])
        return 'done'
      }
      expect(await rejection(old({ redlock: impatient, work: lose }))).toBeInstanceOf(ExecutionError)
      expect(await here({ work: lose })).toBe('done')

      const holder = await taken()
      const [theirs, ours] = await Promise.all([old, here].map(timed))
      expect(theirs.answer).toBeInstanceOf(ExecutionError)
      expect(ours.answer).toBeInstanceOf(ResourceLockedError)
      expect(ours.time).toBeGreaterThanOrEqual(2000)
      await holder.release()
    },

    'if (signal.aborted) throw signal.error': async ({ old, here }) => {
      const theirs = async (signal) => {
        await old({ signal })
        await scene.client.del('invoice')
        await until(() => signal.aborted, 'redlock tells the loss')
        caught = await rejection(old({ signal }))
      }
      let caught
      const patience = { retryCount: 0, automaticExtensionThreshold: 800 }
      // The release fails, too.
      await rejection(impatient.using(['invoice'], 1000, patience, theirs))
      expect(caught).toBeInstanceOf(ExecutionError)

      await locker.request('invoice', async ({ signal, token }) => {
        await here({ signal })
        await rival.forceUnlock('invoice')
        await until(() => signal.aborted, 'the loss is told')
        const error = await rejection(here({ signal }))
        expect(error).toBeInstanceOf(LockLostError)
        expect(error).toMatchObject({ resourceId: 'invoice', token, reason: 'purged' })
      })
    },

    'error instanceof ExecutionError': async ({ old, here }) => {
      const theirs = (error) => old({ error, ExecutionError })
      const ours = (error) => here({ error, ResourceLockedError })
      const holder = await taken()
      expect(await theirs(await rejection(impatient.acquire(['invoice'], 5000)))).toBe(true)
      expect(await ours(await rejection(locker.lock('invoice')))).toBe(true)
      await holder.release()

      const port = await freePort()
      const client = scene.newClient({ port, maxRetriesPerRequest: 0, retryStrategy: null })
      const away = new Redlock([client], { retryCount: 0 })
      expect(await theirs(await rejection(away.acquire(['invoice'], 5000)))).toBe(true)
      const ourAway = scene.newLocker({ port, settings: { commandTimeout: 100 } })
      const error = await rejection(ourAway.lock('invoice'))
      expect(error).toBeInstanceOf(ConnectionError)
      expect(await ours(error)).toBe(false)
    },

    "redlock.on('error', log)": async ({ old, here }) => {
      const [theirs, ours] = [jest.fn(), jest.fn()]
      await old({ log: theirs })
      await here({ log: ours, subscribe })
      try {
        const holder = await taken()
        await rejection(redlock.acquire(['invoice'], 5000, { retryCount: 2, retryDelay: 1, retryJitter: 0 }))
        await rejection(locker.lock('invoice', { timeout: 500 }))
        // Three polls, and what may be left of them is removed.
        expect(theirs.mock.calls.map(([error]) => error.constructor)).toEqual(
          Array(4).fill(RedlockLockedError),
        )
        expect(ours.mock.calls).toEqual([
          [expect.objectContaining({ resourceId: 'invoice', position: 1 }), 'lock-inc:contended'],
        ])
        await holder.release()
      } finally {
        unsubscribe('lock-inc:contended', ours)
      }
    },

    'await redlock.quit()': async ({ old, here }) => {
      const holder = await taken()
      const waits = locker.lock('invoice', { timeout: Number.POSITIVE_INFINITY }).catch((error) => error)
      await scene.waiting('invoice', 1)
      const ended = new Promise((resolve) => scene.client.once('end', resolve))
      await holder.theirs.release()
      await old()
      await ended
      await here()
      expect(await waits).toBeInstanceOf(ClosedError)
      expect(await rejection(locker.lock('stock'))).toBeInstanceOf(ClosedError)
      expect(await holder.ours.unlock()).toBe(true)
    },
  })
})

describe('one process at a time', () => {
  const [, code] = sections.get('One process at a time').match(/```js\n(.+)\n```/)

  it('a process with both locks keeps out one with either, and is kept out by it', async () => {
    const both = (work) => run(code, { redlock, locker, work })
    await both(async () => {
      expect(await rejection(impatient.acquire(['invoice'], 5000))).toBeInstanceOf(ExecutionError)
      expect(await rival.tryLock('invoice')).toBeNull()
    })

    const events = []
    const refused = new Promise((resolve) => redlock.once('error', resolve))
    const theirs = await impatient.acquire(['invoice'], 60_000)
    const first = both(() => events.push('work'))
    await refused
    events.push('release')
    await theirs.release()
    await first

    const ours = await rival.lock('invoice')
    const second = both(() => events.push('work'))
    await scene.waiting('invoice', 1)
    events.push('unlock')
    await ours.unlock()
    await second
    expect(events).toEqual(['release', 'work', 'unlock', 'work'])
  })
})
