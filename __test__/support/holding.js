'use strict'

const lockFactory = require('../..')
const { block, introduced, lockerScene, lossOf } = require('./scene')
const { until, rejection } = require('./until')

const { LockLostError, ResourceLockedError } = lockFactory

/**
 * What holds for a lock that is held, whatever the driver is. `specOf(prefix)` makes the argument of `lockFactory`.
 */
function holding(specOf, options) {
  const scene = lockerScene(specOf, options)
  const { newLocker } = scene

  describe('held and remaining', () => {
    it('say for how long the lock can be relied on, less than the lease', async () => {
      const lock = await newLocker().lock('resource', { expire: 10 })
      expect(lock.held).toBe(true)
      expect(lock.remaining()).toBeGreaterThan(8000)
      expect(lock.remaining()).toBeLessThanOrEqual(10_000 - 102)
      await lock.unlock()
      expect(lock.held).toBe(false)
      expect(lock.remaining()).toBe(0)
    })

    it('are right directly after the event loop was blocked, without a turn of it', async () => {
      const lock = await newLocker().lock('resource', { expire: 0.3 })
      block(150)
      expect(lock.held).toBe(true)
      block(150)
      expect(lock.held).toBe(false)
      expect(lock.remaining()).toBe(0)
    })
  })

  describe('signal', () => {
    it('aborts when the lease ends, with an error that says so', async () => {
      const lock = await newLocker().lock('resource', { expire: 0.1 })
      expect(lock.signal.aborted).toBe(false)
      const error = await lossOf(lock)
      expect(error).toBeInstanceOf(LockLostError)
      expect(error).toBeInstanceOf(lockFactory.LockError)
      expect(error).toMatchObject({
        name: 'LockLostError',
        code: 'ERR_LOCK_LOST',
        resourceId: 'resource',
        token: lock.token,
        reason: 'expired',
      })
      expect(lock.held).toBe(false)
    })

    it('is the same each time, and is aborted already where it is first asked for after the loss', async () => {
      const lock = await newLocker().lock('resource', { expire: 0.05 })
      await until(() => !lock.held)
      const { signal } = lock
      expect(lock.signal).toBe(signal)
      expect((await lossOf(lock)).reason).toBe('expired')
      expect(signal.aborted).toBe(true)
    })

    it('fires on the first turn of the loop after the thread was blocked past the deadline', async () => {
      const lock = await newLocker().lock('resource', { expire: 0.1 })
      const { signal } = lock
      block(300)
      expect(signal.aborted).toBe(false)
      // One turn: a timer that is due, then the phase in which news from outside are taken.
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
      expect(signal.aborted).toBe(true)
    })

    it('of a short lease aborts in time beside a long one', async () => {
      const locker = newLocker()
      await locker.lock('long', { expire: 600 })
      const start = performance.now()
      await lossOf(await locker.lock('short', { expire: 0.1 }))
      // Far from the second after which everything is looked at anyway.
      expect(performance.now() - start).toBeLessThan(700)
    })

    it('stays quiet when the lock is unlocked', async () => {
      const locker = newLocker()
      const lock = await locker.lock('resource', { expire: 0.1 })
      const { signal } = lock
      await lock.unlock()
      const other = await locker.lock('other', { expire: 0.2 })
      await lossOf(other)
      expect(signal.aborted).toBe(false)
    })

    it('aborts when the lease ends also after the locker was closed, renewed or not', async () => {
      const locker = newLocker()
      const locks = [
        await locker.lock('a', { expire: 1 }),
        await locker.lock('b', { expire: 1, renew: true }),
      ]
      const losses = locks.map(lossOf)
      await locker.close()
      expect(locks.map((lock) => lock.held)).toEqual([true, true])
      for (const loss of losses) expect(await loss).toMatchObject({ reason: 'expired' })
    })

    it('aborts when another locker purges', async () => {
      const lock = await newLocker().lock('resource')
      const loss = lossOf(lock)
      await newLocker().purge()
      expect(await loss).toMatchObject({ reason: 'purged', token: lock.token })
      expect(lock.held).toBe(false)
      expect(await lock.unlock()).toBe(false)
    })

    it('aborts when another locker takes the resource by force', async () => {
      const lock = await newLocker().lock('resource')
      const loss = lossOf(lock)
      const other = newLocker()
      expect(await other.forceUnlock('resource')).toBe(true)
      expect(await loss).toMatchObject({ reason: 'purged' })
      expect(await other.forceUnlock('resource')).toBe(false)
    })
  })

  describe('renew', () => {
    it('keeps the lock beyond its lease until it is unlocked', async () => {
      const [locker, other] = [newLocker(), newLocker()]
      const lock = await locker.lock('resource', { expire: 1, renew: true })
      const end = performance.now() + 2000
      while (performance.now() < end) {
        expect(lock.held).toBe(true)
        expect(await rejection(other.lock('resource'))).toBeInstanceOf(ResourceLockedError)
      }
      expect(await lock.unlock()).toBe(true)
      expect(await locker.isLocked('resource')).toBe(false)
    })

    it('goes on while the JavaScript thread is blocked', async () => {
      const locker = newLocker()
      const lock = await locker.lock('resource', { expire: 1.2, renew: true })
      block(2500)
      expect(lock.held).toBe(true)
      expect(lock.signal.aborted).toBe(false)
      expect(await lock.unlock()).toBe(true)
    })

    it('ends after maxHold', async () => {
      const start = performance.now()
      const lock = await newLocker().lock('resource', { expire: 0.2, renew: true, maxHold: 0.6 })
      const granted = performance.now()
      while (lock.held) {
        // It is never relied on for longer.
        expect(performance.now() - granted + lock.remaining()).toBeLessThanOrEqual(600)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      expect(performance.now() - start).toBeGreaterThan(500)
      expect((await lossOf(lock)).reason).toBe('expired')
    })

    it('stops while the JavaScript thread has been blocked for longer than maxBlocked', async () => {
      const lock = await newLocker().lock('resource', { expire: 1.2, renew: true, maxBlocked: 0.6 })
      block(3000)
      expect(lock.held).toBe(false)
      expect((await lossOf(lock)).reason).toBe('expired')
    })

    it('with maxBlocked is never done for a thread that has not run since the grant', async () => {
      const lock = await newLocker().lock('resource', { expire: 0.9, renew: true, maxBlocked: 0.1 })
      block(950)
      expect(lock.held).toBe(false)
    })

    it('goes on with maxBlocked while the thread is idle or busy for a short time', async () => {
      const lock = await newLocker().lock('resource', { expire: 1, renew: true, maxBlocked: 1 })
      for (let round = 0; round < 20; round++) {
        block(50)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      expect(lock.held).toBe(true)
    })
  })

  describe('extend', () => {
    it('gives a new lease from now', async () => {
      const locker = newLocker()
      const lock = await locker.lock('resource', { expire: 5 })
      expect(await lock.extend(100)).toBe(true)
      expect(lock.remaining()).toBeGreaterThan(90_000)
      expect((await rejection(locker.lock('resource'))).leaseLeft).toBeGreaterThan(90_000)
      expect(await lock.extend(1)).toBe(true)
      expect(lock.remaining()).toBeLessThanOrEqual(1000)
    })

    it('does not go beyond maxHold', async () => {
      const lock = await newLocker().lock('resource', { expire: 1, renew: true, maxHold: 20 })
      expect(await lock.extend(100)).toBe(true)
      expect(lock.remaining()).toBeGreaterThan(10_000)
      expect(lock.remaining()).toBeLessThanOrEqual(20_000)
    })

    it('is false when the lock is lost, and does not bring it back', async () => {
      const locker = newLocker()
      const lock = await locker.lock('resource', { expire: 0.05 })
      await until(() => !lock.held)
      expect(await lock.extend(100)).toBe(false)
      const removed = await locker.lock('other')
      await newLocker().purge()
      expect(await removed.extend(100)).toBe(false)
      await until(() => !removed.held)
    })

    it('refuses what is no number of seconds', async () => {
      const lock = await newLocker().lock('resource')
      expect(() => lock.extend(0)).toThrow(RangeError)
      expect(() => lock.extend('5')).toThrow('seconds must be a number of seconds from 0.01 to 1e9, got "5"')
    })
  })

  describe('timeout', () => {
    it('waits for as long, and then says who is in the way', async () => {
      const locker = newLocker()
      await locker.lock('resource')
      const start = performance.now()
      const error = await rejection(locker.lock('resource', { timeout: 150, retryInterval: 20 }))
      expect(error).toBeInstanceOf(ResourceLockedError)
      expect(error.holder.pid).toBe(process.pid)
      expect(performance.now() - start).toBeGreaterThanOrEqual(149)
    })

    it('0 is one attempt', async () => {
      const locker = newLocker()
      await locker.lock('resource')
      expect((await rejection(locker.lock('resource', { timeout: 0 }))).details.numberOfLocks).toBe(2)
      expect((await rejection(locker.lock('resource', { timeout: 0 }))).details.numberOfLocks).toBe(3)
    })

    it('may be as long as a number can be', async () => {
      for (const timeout of [1e10, 1e15, 1e22, 1e300]) {
        expect((await newLocker().lock(`resource ${timeout}`, { timeout })).held).toBe(true)
      }
    })

    it('Infinity waits until there is a lock', async () => {
      const locker = newLocker()
      const first = await locker.lock('resource')
      const waiting = locker.lock('resource', { timeout: Number.POSITIVE_INFINITY })
      await scene.waiting('resource', 1)
      await first.unlock()
      expect((await waiting).token).toBeGreaterThan(first.token)
    })
  })

  describe('an AbortSignal', () => {
    it('ends the waiting with its own reason', async () => {
      const locker = newLocker()
      await locker.lock('resource')
      const controller = new AbortController()
      const waiting = rejection(
        locker.lock('resource', { timeout: Number.POSITIVE_INFINITY, signal: controller.signal }),
      )
      const reason = new Error('changed my mind')
      controller.abort(reason)
      expect(await waiting).toBe(reason)
    })

    it('that is aborted already takes nothing', async () => {
      const locker = newLocker()
      const signal = AbortSignal.abort('no')
      expect(await rejection(locker.lock('resource', { signal }))).toBe('no')
      expect(await locker.isLocked('resource')).toBe(false)
    })

    it('gives a grant back that has crossed it', async () => {
      const locker = newLocker()
      await (await locker.lock('warm-up')).unlock()
      const controller = new AbortController()
      const waiting = rejection(locker.lock('resource', { signal: controller.signal }))
      // The grant has come by then, but nobody has looked yet.
      block(100)
      controller.abort(new Error('too late'))
      expect((await waiting).message).toBe('too late')
      await until(async () => !(await locker.isLocked('resource')), 'it is given back')
    })

    it('may be that of many calls, and Node.js has nothing to warn of', async () => {
      const warned = jest.fn()
      process.on('warning', warned)
      const locker = newLocker()
      await locker.lock('resource')
      const controller = new AbortController()
      const { signal } = controller
      const calls = Array.from({ length: 50 }, () =>
        rejection(locker.lock('resource', { timeout: 60_000, signal })),
      )
      await scene.waiting('resource', 50)
      controller.abort('all of them')
      expect(new Set(await Promise.all(calls))).toEqual(new Set(['all of them']))
      await new Promise(setImmediate)
      process.off('warning', warned)
      expect(warned).not.toHaveBeenCalled()
    })

    it('does not hide wrong arguments by being aborted', () => {
      expect(() => newLocker().lock(42, { signal: AbortSignal.abort() })).toThrow(TypeError)
    })

    it('leaves no lock behind, at whatever moment it comes', async () => {
      const locker = newLocker()
      for (let round = 0; round < 200; round++) {
        const controller = new AbortController()
        const locking = locker.lock(`resource ${round}`, { signal: controller.signal })
        if (round % 3 === 0) controller.abort()
        else if (round % 3 === 1) setImmediate(() => controller.abort())
        else setTimeout(() => controller.abort(), round % 5)
        const lock = await locking.catch((error) => {
          expect(error.name).toBe('AbortError')
        })
        // Once it is granted, the signal is of no more concern.
        if (lock) {
          await lock.unlock()
        } else {
          await until(async () => !(await locker.isLocked(`resource ${round}`)), 'nothing is left')
        }
      }
    })

    it('must be one', () => {
      expect(() => newLocker().lock('resource', { signal: {} })).toThrow(
        'options.signal must be an AbortSignal',
      )
    })
  })

  it('tryLock resolves to a lock, or to null while somebody else holds the resource', async () => {
    const locker = newLocker()
    const lock = await locker.tryLock('resource')
    expect(lock.resourceId).toBe('resource')
    expect(await locker.tryLock('resource')).toBeNull()
    await locker.close()
    expect(await rejection(locker.tryLock('resource'))).toBeInstanceOf(lockFactory.ClosedError)
  })

  it('inspect shows who holds a resource, and takes no part in it', async () => {
    const locker = newLocker()
    expect(await locker.inspect('resource')).toBeNull()
    const lock = await locker.lock('resource', { expire: 20 })
    const young = await newLocker().inspect('resource')
    await introduced(locker, 'resource')
    const seen = await newLocker().inspect('resource')
    const { clientId, host, pid } = seen.holders[0]
    expect(young).toMatchObject({
      holders: [{ clientId, host, pid, mode: options?.mode ?? 'exclusive' }],
      waiters: [],
      count: 1,
    })
    expect(seen).toEqual({
      holders: [
        {
          clientId: expect.stringMatching(/^[0-9a-f]{16}$/),
          host: require('node:os').hostname(),
          pid: process.pid,
          since: expect.anything(),
          token: lock.token,
          leaseLeft: expect.any(Number),
          mode: options?.mode ?? 'exclusive',
        },
      ],
      waiters: [],
      count: 1,
    })
    expect(Math.abs(seen.holders[0].since - Date.now())).toBeLessThan(10_000)
    expect(seen.holders[0].leaseLeft).toBeGreaterThan(10_000)
    expect((await locker.inspect('resource')).count).toBe(1)
  })

  describe('await using', () => {
    it('unlocks at the end of the block', async () => {
      const locker = newLocker()
      const lock = await locker.lock('resource')
      await lock[Symbol.asyncDispose]()
      expect(await locker.isLocked('resource')).toBe(false)
      // Once more, and after an unlock, it does nothing.
      await lock[Symbol.asyncDispose]()
      expect(() => lock.unlock()).toThrow('Not locked')
    })

    it('takes no offence at a lease that has ended', async () => {
      const lock = await newLocker().lock('resource', { expire: 0.02 })
      await until(() => !lock.held)
      await lock[Symbol.asyncDispose]()
    })
  })
}

module.exports = { holding }
