'use strict'

const lockFactory = require('../..')
const { block, introduced, lockerScene } = require('./scene')
const { until, rejection } = require('./until')

const { ResourceLockedError, ClosedError } = lockFactory

/**
 * What a locker does, whatever its driver is. `specOf(prefix)` makes the argument of `lockFactory`.
 */
function behaviour(specOf) {
  const scene = lockerScene(specOf)
  const { newLocker } = scene

  describe('lock', () => {
    it('resolves to a lock with its resource, its key and a fencing token', async () => {
      const lock = await newLocker().lock('resource')
      expect(lock.resourceId).toBe('resource')
      expect(lock.key).toBe(lockFactory.hash('resource'))
      expect(Number.isSafeInteger(lock.token)).toBe(true)
    })

    it('is refused while somebody holds the resource, and says who, how many tried, and for how long', async () => {
      const locker = newLocker()
      const lock = await locker.lock('resource', { expire: 20 })
      const error = await rejection(newLocker().lock('resource'))
      expect(error).toBeInstanceOf(ResourceLockedError)
      expect(error).toBeInstanceOf(lockFactory.LockError)
      expect(error).toBeInstanceOf(locker.ResourceLockedError)
      expect(error).toMatchObject({
        name: 'ResourceLockedError',
        message: expect.stringMatching(/^Resource locked: "resource" is held by process /),
        code: 'ERR_RESOURCE_LOCKED',
        resourceId: 'resource',
        details: { resourceId: 'resource', numberOfLocks: 2 },
        holder: { host: require('node:os').hostname(), pid: process.pid },
      })
      expect(error.holder.clientId).toMatch(/^[0-9a-f]{16}$/)
      expect(error.leaseLeft).toBeGreaterThan(10_000)
      expect(error.leaseLeft).toBeLessThanOrEqual(20_000)
      // All is known of a lock that lasts.
      await introduced(locker, 'resource')
      const { holder } = await rejection(newLocker().lock('resource'))
      expect(holder).toEqual({ ...error.holder, since: expect.any(Date), token: lock.token })
      expect(Math.abs(Date.now() - holder.since.getTime())).toBeLessThan(20_000)
    })

    it('counts the attempts since the resource was taken', async () => {
      const locker = newLocker()
      const attempts = async () => (await rejection(locker.lock('resource'))).details.numberOfLocks
      const first = await locker.lock('resource')
      expect([await attempts(), await attempts(), await attempts()]).toEqual([2, 3, 4])
      await first.unlock()
      await locker.lock('resource')
      expect(await attempts()).toBe(2)
    })

    it('is given to exactly one of many who ask at once', async () => {
      const asking = Array.from({ length: 10 }, () => newLocker()).flatMap((locker) =>
        Array.from({ length: 10 }, () => locker.lock('resource')),
      )
      const answers = await Promise.allSettled(asking)
      expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for (const { reason } of answers.filter(({ status }) => status === 'rejected')) {
        expect(reason).toBeInstanceOf(ResourceLockedError)
      }
    })

    it('gives every resource a lock of its own, whatever its name is', async () => {
      const locker = newLocker()
      const names = ['a', 'A', ' ', 'a b\r\nc', '\0', 'ключ 🔑', '__proto__', 'x'.repeat(100_000), '\ud800']
      const locks = await Promise.all(names.map((name) => locker.lock(name)))
      for (const [index, lock] of locks.entries()) {
        expect(lock.resourceId).toBe(names[index])
        expect(await locker.isLocked(names[index])).toBe(true)
        expect(await lock.unlock()).toBe(true)
      }
    })

    it('is unlocked by its name, whatever that is, and by nothing else that reads like it', async () => {
      const locker = newLocker()
      for (const name of ['__proto__', 'toString', '1', 'undefined', '[object Object]']) {
        const lock = await locker.lock(name)
        for (const other of [undefined, 1, {}]) expect(() => locker.unlock(other)).toThrow(TypeError)
        expect(await locker.unlock('another')).toBe(false)
        expect(lock.held).toBe(true)
        expect(await locker.unlock(name)).toBe(true)
        expect(() => lock.unlock()).toThrow('Not locked')
        expect(await locker.unlock(name)).toBe(false)
      }
    })

    it('excludes other lockers under the same prefix, and only those', async () => {
      await newLocker().lock('resource')
      expect(await rejection(newLocker().lock('resource'))).toBeInstanceOf(ResourceLockedError)
      await newLocker(`other-${scene.prefix}`).lock('resource')
    })

    it('gives tokens that increase from lock to lock', async () => {
      const lockers = [newLocker(), newLocker()]
      const tokens = []
      for (let index = 0; index < 50; index++) {
        const lock = await lockers[index % 2].lock('resource')
        tokens.push(lock.token)
        if (index % 10 === 0) await lockers[0].purge()
        else await lock.unlock()
      }
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b))
    })

    it('does not modify its options', async () => {
      const options = Object.freeze({ expire: 1, retry: false, retryInterval: 1, maxRetryAttempts: 1 })
      await newLocker().lock('resource', options)
      expect(options).toEqual({ expire: 1, retry: false, retryInterval: 1, maxRetryAttempts: 1 })
    })
  })

  describe('expire', () => {
    it('frees the resource when the lease is over, and not before', async () => {
      const locker = newLocker()
      const start = performance.now()
      const lock = await locker.lock('resource', { expire: 0.25 })
      await until(async () => !(await locker.isLocked('resource')), 'the lock expires')
      expect(performance.now() - start).toBeGreaterThanOrEqual(245)
      const next = await locker.lock('resource')
      expect(next.token).toBeGreaterThan(lock.token)
    })

    it.each([undefined, null, 0, false, ''])('is 60 seconds for %j', async (expire) => {
      const locker = newLocker()
      await locker.lock('resource', { expire })
      const { leaseLeft } = await rejection(locker.lock('resource'))
      expect(leaseLeft).toBeGreaterThan(50_000)
      expect(leaseLeft).toBeLessThanOrEqual(60_000)
    })

    it('makes a late unlock answer false, and leaves the next holder alone', async () => {
      const locker = newLocker()
      const late = await locker.lock('resource', { expire: 0.05 })
      const next = await until(
        () =>
          newLocker()
            .lock('resource')
            .catch(() => false),
        'the lock expires',
      )
      expect(await late.unlock()).toBe(false)
      expect(await locker.isLocked('resource')).toBe(true)
      expect(await next.unlock()).toBe(true)
    })
  })

  describe('retry', () => {
    it('gets the lock once the holder has unlocked it', async () => {
      const locker = newLocker()
      const first = await locker.lock('resource')
      let second
      const waiting = newLocker().lock('resource', { retry: true, maxRetryAttempts: 5000 })
      waiting.then((lock) => {
        second = lock
      })
      await scene.waiting('resource', 1)
      expect(second).toBeUndefined()
      await first.unlock()
      expect((await waiting).token).toBeGreaterThan(first.token)
    })

    it('gets the lock once the lease of the holder is over', async () => {
      await newLocker().lock('resource', { expire: 0.1 })
      await newLocker().lock('resource', { retry: true, retryInterval: 10, maxRetryAttempts: 1000 })
    })

    it('waits as long as so many attempts would take, and is one attempt itself', async () => {
      const locker = newLocker()
      await locker.lock('resource')
      const start = performance.now()
      const retry = { retry: true, retryInterval: 10, maxRetryAttempts: 15 }
      const error = await rejection(locker.lock('resource', retry))
      expect(performance.now() - start).toBeGreaterThanOrEqual(149)
      expect(error).toMatchObject({ code: 'ERR_RESOURCE_LOCKED', position: 1, details: { numberOfLocks: 2 } })
      const none = { retry: true, maxRetryAttempts: 0 }
      expect((await rejection(locker.lock('resource', none))).details.numberOfLocks).toBe(3)
    })

    it('goes on for ever with Infinity', async () => {
      const first = await newLocker().lock('resource')
      const endless = { retry: true, retryInterval: 0, maxRetryAttempts: Number.POSITIVE_INFINITY }
      const waiting = newLocker().lock('resource', endless)
      await scene.waiting('resource', 1)
      await first.unlock()
      await waiting
    })

    it('is twenty times 200 ms when it is told nothing else', async () => {
      const locker = newLocker()
      await locker.lock('resource', { expire: 60 })
      const start = performance.now()
      expect(await rejection(locker.lock('resource', { retry: true }))).toBeInstanceOf(ResourceLockedError)
      expect(performance.now() - start).toBeGreaterThanOrEqual(20 * 200 - 5)
    })
  })

  describe('unlock', () => {
    it('frees the resource and resolves to true', async () => {
      const locker = newLocker()
      const lock = await locker.lock('resource')
      expect(await locker.isLocked('resource')).toBe(true)
      expect(await lock.unlock()).toBe(true)
      expect(await locker.isLocked('resource')).toBe(false)
    })

    it('works detached and with any argument', async () => {
      const locker = newLocker()
      const { unlock } = await locker.lock('resource')
      expect(await Promise.resolve({ any: 'thing' }).then(unlock)).toBe(true)
      const unlocked = locker.lock('resource').then((lock) => Promise.resolve('work done').then(lock.unlock))
      expect(await unlocked).toBe(true)
    })

    it('throws "Not locked" the second time, at once', async () => {
      const lock = await newLocker().lock('resource')
      const first = lock.unlock()
      expect(() => lock.unlock()).toThrow(new Error('Not locked'))
      await first
      expect(() => lock.unlock()).toThrow(new Error('Not locked'))
    })

    it('of the locker takes the lock or its resource', async () => {
      const locker = newLocker()
      const lock = await locker.lock('a')
      expect(await locker.unlock(lock)).toBe(true)
      expect(() => locker.unlock(lock)).toThrow('Not locked')
      await locker.lock('b')
      expect(await locker.unlock('b')).toBe(true)
      expect(await locker.isLocked('b')).toBe(false)
      expect(await locker.unlock('b')).toBe(false)
      const last = await locker.lock('c')
      expect(await locker.unlock('c')).toBe(true)
      expect(() => last.unlock()).toThrow('Not locked')
    })

    it('of the locker does not mean a lock that is being unlocked', async () => {
      const locker = newLocker()
      const lock = await locker.lock('resource')
      const unlocking = lock.unlock()
      expect(await locker.unlock('resource')).toBe(false)
      expect(await unlocking).toBe(true)
    })

    it('of the locker does not mean a lock whose grant is still on its way', async () => {
      const locker = newLocker()
      await (await locker.lock('warm-up')).unlock()
      const locking = locker.lock('resource')
      // The grant has come by then, but nobody has looked yet.
      block(100)
      const unlocking = locker.unlock('resource')
      const lock = await locking
      expect(await unlocking).toBe(false)
      expect(lock.held).toBe(true)
      expect(await locker.isLocked('resource')).toBe(true)
      expect(await locker.unlock('resource')).toBe(true)
    })

    it('of another locker does not free the resource', async () => {
      const lock = await newLocker().lock('resource')
      const other = newLocker()
      expect(await other.unlock('resource')).toBe(false)
      expect(() => other.unlock(lock)).toThrow(TypeError)
      expect(await other.isLocked('resource')).toBe(true)
    })
  })

  describe('purge', () => {
    it('removes every lock under the prefix, whoever holds it, and no other', async () => {
      const [locker, other] = [newLocker(), newLocker(`other-${scene.prefix}`)]
      const names = Array.from({ length: 1000 }, (_, index) => `resource ${index}`)
      const locks = await Promise.all(
        names.map((name, index) => (index % 2 ? locker : newLocker()).lock(name)),
      )
      await other.lock('resource')
      expect(await newLocker().purge()).toBeUndefined()
      expect(await Promise.all(names.map((name) => locker.isLocked(name)))).toEqual(names.map(() => false))
      expect(await other.isLocked('resource')).toBe(true)
      expect(await locks[0].unlock()).toBe(false)
    })

    it.each(['*', 'a?[b]\\^-c', '[a-z]'])('takes the prefix %j to the letter', async (glob) => {
      const [locker, other] = [newLocker(glob + scene.prefix), newLocker(`axbc${scene.prefix}`)]
      await locker.lock('resource')
      await other.lock('resource')
      await locker.purge()
      expect(await locker.isLocked('resource')).toBe(false)
      expect(await other.isLocked('resource')).toBe(true)
    })
  })

  describe('close', () => {
    it('lets what is in flight settle, and refuses what comes later', async () => {
      const locker = newLocker()
      const calls = Array.from({ length: 20 }, (_, index) => locker.lock(`resource ${index}`))
      const inFlight = Promise.allSettled(calls)
      const closed = locker.close()
      const later = await rejection(locker.lock('later'))
      expect(later).toBeInstanceOf(ClosedError)
      expect(later).toMatchObject({ name: 'ClosedError', code: 'ERR_CLOSED', resourceId: 'later' })
      await closed
      for (const { status, reason } of await inFlight) {
        if (status === 'rejected') expect(reason).toBeInstanceOf(ClosedError)
      }
      for (const call of [() => locker.isLocked('a'), () => locker.unlock('a'), () => locker.purge()]) {
        expect(await rejection(call())).toBeInstanceOf(ClosedError)
      }
    })

    it('can be called again and resolves each time', async () => {
      const locker = newLocker()
      expect(await Promise.all([locker.close(), locker.close()])).toEqual([undefined, undefined])
      expect(await locker.close()).toBeUndefined()
    })

    it('tells a waiting lock at once', async () => {
      await newLocker().lock('resource')
      const locker = newLocker()
      const waiting = rejection(locker.lock('resource', { retry: true, retryInterval: 1_000_000 }))
      await scene.waiting('resource', 1)
      await locker.close()
      expect(await waiting).toBeInstanceOf(ClosedError)
    })

    it('leaves held locks to their leases', async () => {
      const locker = newLocker()
      await locker.lock('resource')
      await locker.close()
      expect(await newLocker().isLocked('resource')).toBe(true)
    })
  })

  it('has methods that work detached', async () => {
    const { lock, isLocked, purge, unlock, close } = newLocker()
    await lock('resource')
    expect(await isLocked('resource')).toBe(true)
    expect(await unlock('resource')).toBe(true)
    await purge()
    await close()
  })
}

module.exports = { behaviour }
