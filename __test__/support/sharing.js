'use strict'

const lockFactory = require('../..')
const { introduced, lockerScene, lossOf } = require('./scene')
const { until, rejection } = require('./until')

const { ResourceLockedError } = lockFactory
const timeout = Number.POSITIVE_INFINITY
const shared = { mode: 'shared' }

/**
 * What holds for locks that several share, for semaphores and for stealing, whatever the driver is. `specOf(prefix)` makes the
 * argument of `lockFactory`.
 */
function sharing(specOf) {
  const { newLocker, waiting } = lockerScene(specOf)

  /** Calls that wait one behind the other. Which of them have their turn, in order, is in `order`. */
  async function line(calls) {
    const order = []
    const locks = {}
    let place = 0
    for (const [name, options] of Object.entries(calls)) {
      locks[name] = newLocker()
        .lock('resource', { timeout, ...options })
        .then((lock) => {
          order.push(name)
          return lock
        })
      locks[name].catch(() => {})
      await waiting('resource', ++place)
    }
    return { order, locks }
  }

  describe('a shared lock', () => {
    it('is held by several at once, of one locker and of others, each with a token of its own', async () => {
      const [a, b] = [newLocker(), newLocker()]
      const locks = []
      for (const locker of [a, b, a, b]) locks.push(await locker.lock('resource', shared))
      const tokens = locks.map(({ token }) => token)
      expect(tokens).toEqual([...new Set(tokens)].sort((one, other) => one - other))
      for (const lock of locks) expect(lock.held).toBe(true)
      for (const lock of locks) {
        expect(await a.isLocked('resource')).toBe(true)
        expect(await lock.unlock()).toBe(true)
        expect(lock.held).toBe(false)
      }
      expect(await a.isLocked('resource')).toBe(false)
    })

    it('keeps an exclusive one out until all of them have gone, and is kept out by it', async () => {
      const locker = newLocker()
      const readers = [await locker.lock('resource', shared), await newLocker().lock('resource', shared)]
      for (const reader of readers) {
        expect(await rejection(newLocker().lock('resource'))).toBeInstanceOf(ResourceLockedError)
        await reader.unlock()
      }
      const writer = await locker.lock('resource')
      expect(await newLocker().tryLock('resource', shared)).toBeNull()
      await writer.unlock()
      expect(await newLocker().tryLock('resource', shared)).not.toBeNull()
    })

    it('is one of those who have it to inspect, and tells an exclusive one who is in the way', async () => {
      const [a, b, other] = [newLocker(), newLocker(), newLocker()]
      const first = await a.lock('resource', { ...shared, expire: 20 })
      const second = await b.lock('resource', { ...shared, expire: 40 })
      const error = await rejection(other.lock('resource'))
      expect(error.leaseLeft).toBeGreaterThan(20_000)
      const known = async () => (await other.inspect('resource')).holders.every(({ token }) => token !== null)
      await until(known, 'it is known who has it')
      const { holders, waiters } = await other.inspect('resource')
      expect(waiters).toEqual([])
      expect(holders.map(({ token }) => token)).toEqual([first.token, second.token])
      expect(holders.map(({ mode }) => mode)).toEqual(['shared', 'shared'])
      expect(error.holder.clientId).toBe(holders[1].clientId)
      expect(holders[0].clientId).not.toBe(holders[1].clientId)
      expect(holders[0].leaseLeft).toBeLessThanOrEqual(20_000)
      expect(holders[1].leaseLeft).toBeGreaterThan(20_000)
    })

    it('has a lease of its own: one ends, the other is renewed, and the resource is free when both have', async () => {
      const locker = newLocker()
      const short = await locker.lock('resource', { ...shared, expire: 0.3 })
      const renewed = await newLocker().lock('resource', { ...shared, expire: 1.5, renew: true })
      const loss = await lossOf(short)
      expect(loss).toMatchObject({ code: 'ERR_LOCK_LOST', reason: 'expired' })
      expect(renewed.held).toBe(true)
      const only = async () => {
        const { holders } = await locker.inspect('resource')
        return holders.length === 1 && holders[0].token === renewed.token
      }
      await until(only, 'one has it')
      expect(await short.unlock()).toBe(false)
      expect(await renewed.unlock()).toBe(true)
      expect(await locker.isLocked('resource')).toBe(false)
    })

    it('frees the resource when the last lease ends, though another one was longer and is given up', async () => {
      const locker = newLocker()
      const long = await locker.lock('resource', { ...shared, expire: 60 })
      await newLocker().lock('resource', { ...shared, expire: 0.3 })
      expect(await long.unlock()).toBe(true)
      const writer = await locker.lock('resource', { timeout: 10_000 })
      expect(writer.held).toBe(true)
    })

    it('can be extended and shortened by itself', async () => {
      const locker = newLocker()
      const [a, b] = [await locker.lock('resource', shared), await newLocker().lock('resource', shared)]
      expect(await a.extend(300)).toBe(true)
      expect(a.remaining()).toBeGreaterThan(200_000)
      expect(b.remaining()).toBeLessThan(61_000)
      expect(await a.extend(0.2)).toBe(true)
      expect(await lossOf(a)).toMatchObject({ reason: 'expired' })
      expect(await b.extend(10)).toBe(true)
      // A holder lets go a little earlier than the store.
      const holders = await until(async () => {
        const found = await locker.inspect('resource')
        return found.holders.length === 1 && found.holders
      }, 'one has it')
      expect(holders[0].token).toBe(b.token)
      expect(holders[0].leaseLeft).toBeLessThanOrEqual(10_000)
    })

    it('is taken from each of those who share it by forceUnlock and by purge, who are told', async () => {
      for (const method of ['forceUnlock', 'purge']) {
        const lockers = [newLocker(), newLocker(), newLocker()]
        const locks = await Promise.all(lockers.map((locker) => locker.lock('resource', shared)))
        const lost = Promise.all(locks.map(lossOf))
        await newLocker()[method]('resource')
        expect((await lost).map(({ reason }) => reason)).toEqual(['purged', 'purged', 'purged'])
        expect(await newLocker().isLocked('resource')).toBe(false)
      }
    })

    it('does not overtake those who wait, also where it would fit', async () => {
      const reader = await newLocker().lock('resource', shared)
      const { order, locks } = await line({ writer: {}, late: shared })
      expect(await newLocker().tryLock('resource', shared)).toBeNull()
      expect(order).toEqual([])
      await reader.unlock()
      await (await locks.writer).unlock()
      await (await locks.late).unlock()
      expect(order).toEqual(['writer', 'late'])
    })

    it('lets those in that are next in line together, and no others', async () => {
      const writer = await newLocker().lock('resource')
      const { order, locks } = await line({ a: shared, b: shared, c: shared, next: {}, last: shared })
      const { waiters } = await newLocker().inspect('resource')
      expect(waiters.map(({ mode }) => mode)).toEqual(['shared', 'shared', 'shared', 'exclusive', 'shared'])
      await writer.unlock()
      const readers = await Promise.all([locks.a, locks.b, locks.c])
      expect([...order].sort()).toEqual(['a', 'b', 'c'])
      const tokens = readers.map(({ token }) => token)
      expect(tokens).toEqual([...tokens].sort((one, other) => one - other))
      for (const reader of readers) expect(await reader.unlock()).toBe(true)
      expect(await (await locks.next).unlock()).toBe(true)
      expect(await (await locks.last).unlock()).toBe(true)
      expect(order.slice(3)).toEqual(['next', 'last'])
    })

    it('has its turn at once when the exclusive one that it stands behind gives up', async () => {
      const locker = newLocker()
      await locker.lock('resource', shared)
      for (const ends of ['aborted', 'timed out']) {
        const controller = new AbortController()
        const options = ends === 'aborted' ? { timeout, signal: controller.signal } : { timeout: 1000 }
        const writer = rejection(newLocker().lock('resource', options))
        await waiting('resource', 1)
        const behind = [1, 2].map(() => newLocker().lock('resource', { ...shared, timeout }))
        await waiting('resource', 3)
        controller.abort()
        await writer
        const begin = performance.now()
        for (const lock of await Promise.all(behind)) expect(await lock.unlock()).toBe(true)
        // Long before anybody would ask.
        expect(performance.now() - begin).toBeLessThan(3000)
      }
    })

    it('goes to many waiters of one locker at once', async () => {
      const locker = newLocker()
      const writer = await newLocker().lock('resource')
      const calls = Array.from({ length: 300 }, () => locker.lock('resource', { ...shared, timeout }))
      await waiting('resource', 300)
      await writer.unlock()
      const locks = await Promise.all(calls)
      expect(new Set(locks.map(({ token }) => token)).size).toBe(300)
      expect((await locker.inspect('resource')).holders).toHaveLength(300)
      for (const unlocked of await Promise.all(locks.map((lock) => lock.unlock())))
        expect(unlocked).toBe(true)
      expect(await locker.isLocked('resource')).toBe(false)
    })

    it('goes to waiters of the locker that gives it up', async () => {
      const locker = newLocker()
      const writer = await locker.lock('resource')
      const calls = [1, 2, 3].map(() => locker.lock('resource', { ...shared, timeout }))
      const last = locker.lock('resource', { timeout })
      await waiting('resource', 4)
      await writer.unlock()
      for (const lock of await Promise.all(calls)) expect(await lock.unlock()).toBe(true)
      expect(await (await last).unlock()).toBe(true)
    })
  })

  describe('a semaphore', () => {
    const three = { mode: 'shared', limit: 3 }

    it('has as many holders as its limit, and one more when one has gone', async () => {
      const lockers = [newLocker(), newLocker()]
      const locks = []
      for (let count = 0; count < 3; count++) locks.push(await lockers[count % 2].lock('resource', three))
      const error = await rejection(newLocker().lock('resource', three))
      expect(error).toBeInstanceOf(ResourceLockedError)
      expect(await newLocker().tryLock('resource')).toBeNull()
      await locks[1].unlock()
      const next = await newLocker().lock('resource', three)
      expect(next.held).toBe(true)
      expect(await newLocker().tryLock('resource', three)).toBeNull()
    })

    it('never has more, and serves those who wait in order', async () => {
      let [inside, most] = [0, 0]
      const lockers = [newLocker(), newLocker(), newLocker()]
      const served = []
      const calls = []
      for (let index = 0; index < 12; index++) {
        const call = lockers[index % 3].lock('resource', { ...three, timeout })
        calls.push(
          call.then(async (lock) => {
            served.push(index)
            most = Math.max(most, ++inside)
            await new Promise((resolve) => setTimeout(resolve, 10))
            inside--
            await lock.unlock()
          }),
        )
      }
      await Promise.all(calls)
      expect(most).toBe(3)
      expect(served).toHaveLength(12)
    })

    it('gives the place of a holder whose lease has ended to the one that waits', async () => {
      await newLocker().lock('resource', { ...three, expire: 0.3 })
      await newLocker().lock('resource', three)
      await newLocker().lock('resource', three)
      const next = await newLocker().lock('resource', { ...three, timeout: 10_000 })
      expect(next.held).toBe(true)
    })

    it('judges each attempt by its own limit', async () => {
      const limit = (limit) => ({ mode: 'shared', limit })
      await newLocker().lock('resource', limit(5))
      await newLocker().lock('resource', limit(5))
      expect(await newLocker().tryLock('resource', limit(2))).toBeNull()
      expect(await newLocker().tryLock('resource', limit(3))).not.toBeNull()
      expect(await newLocker().tryLock('resource', shared)).not.toBeNull()
    })

    it('of one is exclusive', async () => {
      const one = { mode: 'shared', limit: 1 }
      const lock = await newLocker().lock('resource', one)
      expect(await newLocker().tryLock('resource', one)).toBeNull()
      const next = newLocker().lock('resource', { ...one, timeout })
      await waiting('resource', 1)
      await lock.unlock()
      expect((await next).token).toBeGreaterThan(lock.token)
    })
  })

  describe('stealing', () => {
    it('takes the lock from its holder, who is told at once, and before those who wait', async () => {
      const holder = await newLocker().lock('resource')
      const { order, locks } = await line({ waiter: {} })
      const lost = lossOf(holder)
      const thief = newLocker()
      const stolen = await thief.lock('resource', { steal: true })
      expect(await lost).toMatchObject({ code: 'ERR_LOCK_LOST', reason: 'stolen' })
      expect(holder.held).toBe(false)
      expect(stolen.token).toBeGreaterThan(holder.token)
      expect(await holder.unlock()).toBe(false)
      expect(stolen.held).toBe(true)
      expect(order).toEqual([])
      await stolen.unlock()
      expect((await locks.waiter).token).toBeGreaterThan(stolen.token)
    })

    it('takes it from all who share it', async () => {
      const readers = await Promise.all([1, 2, 3].map(() => newLocker().lock('resource', shared)))
      const lost = Promise.all(readers.map(lossOf))
      const stolen = await newLocker().lock('resource', { steal: true })
      expect((await lost).map(({ reason }) => reason)).toEqual(['stolen', 'stolen', 'stolen'])
      expect(await newLocker().tryLock('resource', shared)).toBeNull()
      expect(await stolen.unlock()).toBe(true)
    })

    it('takes what is free, and from a holder that has had it for long', async () => {
      const locker = newLocker()
      const first = await locker.lock('resource', { steal: true })
      await introduced(locker, 'resource')
      const lost = lossOf(first)
      const second = await newLocker().lock('resource', { steal: true })
      expect(await lost).toMatchObject({ reason: 'stolen' })
      expect(await second.unlock()).toBe(true)
      expect(await locker.isLocked('resource')).toBe(false)
    })

    it('ends with one holder, however many steal at once', async () => {
      const lockers = Array.from({ length: 5 }, newLocker)
      const stealing = lockers.map((locker) => locker.lock('resource', { steal: true }))
      const locks = []
      for (const { status, value, reason } of await Promise.allSettled(stealing)) {
        if (status === 'fulfilled') locks.push(value)
        // It was stolen before it could be held.
        else expect(reason).toBeInstanceOf(ResourceLockedError)
      }
      const held = () => locks.filter((lock) => lock.held)
      await until(() => held().length === 1, 'one has it')
      expect(held()[0].token).toBe(Math.max(...locks.map(({ token }) => token)))
    })
  })
}

module.exports = { sharing }
