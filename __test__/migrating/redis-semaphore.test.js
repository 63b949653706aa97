'use strict'

const { LostLockError, TimeoutError } = require('redis-semaphore')
const lockFactory = require('../..')
const { runNode } = require('../support/child')
const { expectRenewal, insisting, longer, migrating, timed } = require('../support/migrating')
const { otherScene } = require('../support/other-libraries')
const { block, connected } = require('../support/scene')
const { rejection, until } = require('../support/until')

const { ConnectionError, LockLostError, ResourceLockedError } = lockFactory

const scene = otherScene()
let locker
/** Another one. */
let rival

beforeEach(async () => {
  locker = await connected(scene.newLocker())
  rival = await connected(scene.newLocker())
})

/** What is left of the leases, there and here. */
const leases = async (ours) => [await scene.client.pttl('mutex:invoice'), ours.remaining()]

/** Both have leases of this length. */
async function expectLeases(ours, ms) {
  for (const left of await leases(ours)) {
    expect(left).toBeGreaterThan(ms / 2)
    expect(left).toBeLessThanOrEqual(ms)
  }
}

/** Neither lock is there any more. */
async function expectFree() {
  expect(await scene.client.exists('mutex:invoice')).toBe(0)
  expect(await rival.isLocked('invoice')).toBe(false)
}

/** Takes the lock in both, for a minute without a renewal. */
async function taken(options = { lockTimeout: 60_000, refreshInterval: 0 }) {
  const mutex = new scene.Mutex(scene.client, 'invoice', options)
  await mutex.acquire()
  const lock = await rival.lock('invoice')
  return { mutex, lock, release: () => Promise.all([mutex.release(), lock.unlock()]) }
}

/** Runs the code of both columns, which takes the lock, and then some test of what they got. */
async function both({ old, here }, test) {
  const opened = []
  class Mutex extends scene.Mutex {
    constructor(client, key, options) {
      super(client, key, { onLockLost: () => {}, ...options })
      opened.push(this)
    }
  }
  const [answer, lock] = [await old({ Mutex }), await here()]
  expect(await rival.isLocked('invoice')).toBe(true)
  await test({ mutex: opened.at(-1), answer, lock })
}

const scope = () => ({
  client: scene.client,
  locker,
  Mutex: scene.Mutex,
  Semaphore: scene.Semaphore,
  MultiSemaphore: scene.MultiSemaphore,
})

/** A permit that is taken at once or not at all. */
const once = { acquireAttemptsLimit: 1 }

/** That so many hold the semaphore at once, there and here, and the next one when one of them is given up. */
async function expectPermits(number, { old, here }, { another, limit }) {
  const opened = []
  const counted = (Class) =>
    class extends Class {
      constructor(...args) {
        super(...args)
        opened.push(this)
      }
    }
  const classes = { Semaphore: counted(scene.Semaphore), MultiSemaphore: counted(scene.MultiSemaphore) }
  const permits = []
  for (let turn = 0; turn < number; turn++) {
    await old(classes)
    permits.push(await here())
  }
  const options = { mode: 'shared', limit }
  expect(await another().tryAcquire()).toBe(false)
  expect(await rival.tryLock('mail', options)).toBeNull()
  const refused = rejection(here({ locker: insisting({ timeout: 0 }, locker) }))
  expect(await refused).toBeInstanceOf(ResourceLockedError)
  for (const left of [
    await scene.client.pttl('semaphore:mail'),
    ...permits.map((permit) => permit.remaining()),
  ]) {
    expect(left).toBeGreaterThan(5000)
    expect(left).toBeLessThanOrEqual(10_000)
  }
  const waits = [old(classes), here()]
  await scene.waiting('mail', 1)
  await opened[0].release()
  await permits[0].unlock()
  await Promise.all(waits)
  expect(await another().tryAcquire()).toBe(false)
  expect(await rival.tryLock('mail', options)).toBeNull()
  await permits[1].unlock()
  await expectRenewal(here, locker)
}

describe('from redis-semaphore', () => {
  migrating('From redis-semaphore', scope, {
    "const mutex = new Mutex(client, 'invoice') await mutex.acquire()": async (code) => {
      await both(code, async ({ mutex, lock }) => {
        await expectLeases(lock, 10_000)
        const order = []
        const others = [0, 1].map(() => new scene.Mutex(scene.client, 'invoice'))
        const waiting = others.map((other) => other.acquire())
        const ours = []
        for (const place of [1, 2, 3]) {
          ours.push(
            code.here().then((lock) => {
              order.push(place)
              return lock.unlock()
            }),
          )
          await scene.waiting('invoice', place)
        }
        await scene.server.call('CONFIG', 'RESETSTAT')
        await until(async () => (await scene.server.commandCount('set')) > 30, 'those who wait there poll')
        expect(await scene.server.commandCount('evalsha')).toBeLessThan(10)
        await mutex.release()
        const first = await Promise.race(waiting.map((acquired, index) => acquired.then(() => others[index])))
        await first.release()
        await Promise.all(waiting)
        await Promise.all(others.map((other) => other.release()))
        await lock.unlock()
        await Promise.all(ours)
        expect(order).toEqual([1, 2, 3])
      })
      await expectFree()
      await expectRenewal(code.here, locker)
    },

    "const mutex = new Mutex(client, 'invoice', { lockTimeout: 5000, acquireTimeout: 500 }) await mutex.acquire()":
      async (code) => {
        await both(code, async ({ mutex, lock }) => {
          await expectLeases(lock, 5000)
          const [theirs, ours] = await Promise.all([code.old, code.here].map(timed))
          expect(theirs.answer).toBeInstanceOf(TimeoutError)
          expect(ours.answer).toBeInstanceOf(ResourceLockedError)
          for (const { time } of [theirs, ours]) expect(time).toBeGreaterThanOrEqual(500)
          await Promise.all([mutex.release(), lock.unlock()])
        })
        await expectFree()
        await expectRenewal(code.here, locker)
        process.kill(scene.server.pid, 'SIGSTOP')
        try {
          // It waits for an answer for as long as there is none.
          const theirs = code.old()
          expect(await rejection(code.here())).toBeInstanceOf(ConnectionError)
          expect(await Promise.race([theirs, 'still waits'])).toBe('still waits')
          process.kill(scene.server.pid, 'SIGCONT')
          await theirs
        } finally {
          process.kill(scene.server.pid, 'SIGCONT')
        }
      },

    "const mutex = new Mutex(client, 'invoice', { acquireAttemptsLimit: 10, retryInterval: 50 }) await mutex.tryAcquire()":
      async (code) => {
        await both(code, async ({ mutex, answer, lock }) => {
          expect(answer).toBe(true)
          await expectLeases(lock, 10_000)
          const [theirs, ours] = await Promise.all([code.old, code.here].map(timed))
          expect(theirs.answer).toBe(false)
          expect(ours.answer).toBeNull()
          // There each of ten timers may be a millisecond early.
          for (const { time } of [theirs, ours]) expect(time).toBeGreaterThanOrEqual(10 * (50 - 1))
          await Promise.all([mutex.release(), lock.unlock()])
        })
        await expectRenewal(code.here, locker)
      },

    "const mutex = new Mutex(client, 'invoice', { acquireAttemptsLimit: 1 }) await mutex.tryAcquire()":
      async (code) => {
        await both(code, async ({ mutex, answer, lock }) => {
          expect(answer).toBe(true)
          await expectLeases(lock, 10_000)
          expect(await code.old()).toBe(false)
          expect(await code.here()).toBeNull()
          await Promise.all([mutex.release(), lock.unlock()])
        })
        await expectFree()
        await expectRenewal(code.here, locker)
      },

    'await mutex.acquire(signal)': async ({ old, here }) => {
      const holder = await taken()
      const controller = new AbortController()
      const { signal } = controller
      const mutex = new scene.Mutex(scene.client, 'invoice', { acquireTimeout: Number.POSITIVE_INFINITY })
      const waits = [old({ mutex, signal }), here({ signal })].map(rejection)
      await scene.waiting('invoice', 1)
      controller.abort('no longer')
      expect(await Promise.all(waits)).toEqual(['no longer', 'no longer'])
      await holder.release()
      await expectFree()
      const [theirs, ours] = [{ mutex, signal: undefined }, { signal: new AbortController().signal }]
      await old(theirs)
      expect((await here(ours)).held).toBe(true)
    },

    "const mutex = new Mutex(client, 'invoice', { lockTimeout: 2000, refreshInterval: 300 }) await mutex.acquire()":
      async (code) => {
        await both(code, async ({ lock }) => {
          await expectLeases(lock, 2000)
          for (const which of [0, 1]) await longer(async () => (await leases(lock))[which])
          block(2500)
          expect(lock.held).toBe(true)
          expect(await scene.client.exists('mutex:invoice')).toBe(0)
        })
      },

    "const mutex = new Mutex(client, 'invoice', { lockTimeout: 5000, refreshInterval: 0 }) await mutex.acquire()":
      async (code) => {
        await both(code, async ({ mutex, lock }) => {
          await expectLeases(lock, 5000)
          // Beyond the time of a renewal.
          const late = async () => (await leases(lock)).every((left) => left < 3000)
          await until(late, 'the leases go on without a renewal')
          const waits = [new scene.Mutex(scene.client, 'invoice').acquire(), code.here()]
          await scene.waiting('invoice', 1)
          await Promise.all([mutex.release(), lock.unlock()])
          await Promise.all(waits)
        })
      },

    "const mutex = new Mutex(client, 'invoice', { lockTimeout: 2000, refreshInterval: 300, onLockLost: stop }) await mutex.acquire()":
      async ({ old, here }) => {
        const [theirs, ours] = [jest.fn(), jest.fn()]
        await old({ stop: theirs })
        await here({ stop: ours })
        const leaseLeft = async () => (await rival.inspect('invoice')).holders[0].leaseLeft
        expect(await leaseLeft()).toBeLessThanOrEqual(2000)
        await longer(leaseLeft)
        await Promise.all([scene.client.del('mutex:invoice'), rival.forceUnlock('invoice')])
        await until(() => theirs.mock.calls.length > 0 && ours.mock.calls.length > 0, 'both are told')
        expect(theirs.mock.calls).toEqual([[expect.any(LostLockError)]])
        expect(ours.mock.calls).toEqual([[expect.any(LockLostError)]])

        const modules = { modules: ['ioredis', 'redis-semaphore'].map((name) => require.resolve(name)) }
        const args = { ...modules, port: scene.server.port, spec: scene.spec(), key: `${scene.prefix}silent` }
        const silentThere = runNode(
          `
          const [Redis, { Mutex }] = args.modules.map((file) => require(file))
          const client = new Redis({ port: args.port })
          const mutex = new Mutex(client, args.key, { lockTimeout: 2000, refreshInterval: 50 })
          mutex.acquire().then(() => client.del('mutex:' + args.key))
          `,
          args,
        )
        const silentHere = runNode(
          `
          const [locker, rival] = [lockFactory(args.spec), lockFactory(args.spec)]
          locker.lock('silent', { expire: 2, renew: true }).then(async (lock) => {
            await rival.forceUnlock('silent')
            while (lock.held) await new Promise((resolve) => setTimeout(resolve, 5))
            await Promise.all([locker.close(), rival.close()])
            tell('lost')
          })
          `,
          args,
        )
        const [there, ownEnd] = await Promise.all([silentThere.ended, silentHere.ended])
        expect(there.code).not.toBe(0)
        expect(there.stderr).toContain('Lost mutex')
        expect(ownEnd).toMatchObject({ code: 0, stderr: '', messages: ['lost'] })
      },

    'mutex.isAcquired': async ({ old, here }) => {
      const mutex = new scene.Mutex(scene.client, 'invoice', { lockTimeout: 1000, refreshInterval: 0 })
      await mutex.acquire()
      const lock = await rival.lock('invoice', { expire: '1s' })
      expect(await old({ mutex })).toBe(true)
      expect(await here({ lock })).toBe(true)
      await until(async () => (await leases(lock)).every((left) => left <= 0), 'the leases are over')
      expect(await old({ mutex })).toBe(true)
      expect(await here({ lock })).toBe(false)
    },

    'mutex.identifier': async ({ old, here }) => {
      const tokens = []
      for (let turn = 0; turn < 2; turn++) {
        const holder = await taken()
        expect(await old({ mutex: holder.mutex })).toBe(await scene.client.get('mutex:invoice'))
        tokens.push(await here({ lock: holder.lock }))
        await holder.release()
      }
      expect(tokens[1]).toBeGreaterThan(tokens[0])
    },

    'await mutex.release()': async ({ old, here }) => {
      const holder = await taken()
      expect(await old(holder)).toBeUndefined()
      expect(await here(holder)).toBe(true)
      await expectFree()
      expect(await old(holder)).toBeUndefined()
      expect((await rejection(here(holder))).message).toBe('Not locked')

      const lost = await taken()
      await Promise.all([scene.client.del('mutex:invoice'), locker.forceUnlock('invoice')])
      expect(await old(lost)).toBeUndefined()
      expect(await here(lost)).toBe(false)
    },

    'error instanceof TimeoutError': async ({ old, here }) => {
      const holder = await taken()
      const theirs = await rejection(new scene.Mutex(scene.client, 'invoice', once).acquire())
      const ours = await rejection(locker.lock('invoice'))
      expect(await old({ error: theirs, TimeoutError })).toBe(true)
      expect(await here({ error: ours, ResourceLockedError })).toBe(true)
      expect(ours.holder.pid).toBe(process.pid)
      expect(ours.leaseLeft).toBeGreaterThan(30_000)
      await holder.release()
    },

    'error instanceof LostLockError': async ({ old, here }) => {
      const told = jest.fn()
      const holder = await taken({ refreshInterval: 100, onLockLost: told })
      await Promise.all([scene.client.del('mutex:invoice'), locker.forceUnlock('invoice')])
      await until(() => told.mock.calls.length > 0 && holder.lock.signal.aborted, 'both are told')
      const ours = holder.lock.signal.reason
      expect(await old({ error: told.mock.calls[0][0], LostLockError })).toBe(true)
      expect(await here({ error: ours, LockLostError })).toBe(true)
      expect(ours).toMatchObject({ resourceId: 'invoice', token: holder.lock.token, reason: 'purged' })
    },

    "const semaphore = new Semaphore(client, 'mail', 2) await semaphore.acquire()": async (code) => {
      const another = () => new scene.Semaphore(scene.client, 'mail', 2, once)
      await expectPermits(2, code, { another, limit: 2 })

      // A client whose clock is ahead takes the leases of the others for over.
      await rival.lock('mail', { mode: 'shared', limit: 2 })
      const { now } = Date
      jest.spyOn(Date, 'now').mockImplementation(() => now() + 20_000)
      try {
        expect(await another().tryAcquire()).toBe(true)
        expect(await rival.tryLock('mail', { mode: 'shared', limit: 2 })).toBeNull()
      } finally {
        jest.restoreAllMocks()
      }
    },

    "const semaphore = new MultiSemaphore(client, 'mail', 6, 2) await semaphore.acquire()": async (code) => {
      const another = () => new scene.MultiSemaphore(scene.client, 'mail', 6, 2, once)
      await expectPermits(3, code, { another, limit: 3 })
    },

    "const heir = new Mutex(client, 'invoice', { identifier, acquiredExternally: true }) await heir.acquire()":
      async ({ old }) => {
        const holder = await taken()
        await old({ identifier: holder.mutex.identifier })
        expect(() => locker.unlock(holder.lock)).toThrow('The lock was taken by another locker')
        expect(await locker.unlock('invoice')).toBe(false)
        expect(holder.lock.held).toBe(true)
        await holder.release()
      },
  })
})
