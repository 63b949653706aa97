'use strict'

const lockFactory = require('../..')
const { block, introduced, lockerScene, lossOf } = require('./scene')
const { until, rejection } = require('./until')

const { ClosedError, ResourceLockedError } = lockFactory
const timeout = Number.POSITIVE_INFINITY

/**
 * What holds for calls that wait for a lock, whatever the driver is. `specOf(prefix)` makes the argument of
 * `lockFactory`.
 */
function waiting(specOf, options) {
  const scene = lockerScene(specOf, options)
  const { newLocker } = scene

  describe('waiting', () => {
    /** Calls that wait one behind the other; what they are called goes into `order` when they have their turn. */
    async function queue(names, lockerOf, order, optionsOf = () => ({})) {
      const calls = {}
      for (const [index, name] of names.entries()) {
        const call = lockerOf(index).lock('resource', { timeout, ...optionsOf(name) })
        calls[name] = call.then(
          async (lock) => {
            order.push(name)
            await lock.unlock()
            return lock
          },
          (error) => error,
        )
        await scene.waiting('resource', index + 1)
      }
      return calls
    }

    it('is ended in order of arrival, whichever locker it is', async () => {
      const lockers = [newLocker(), newLocker(), newLocker()]
      const first = await newLocker().lock('resource')
      const names = Array.from({ length: 12 }, (_, index) => `call ${index}`)
      const order = []
      const calls = await queue(names, (index) => lockers[(index * 7) % 3], order)
      await first.unlock()
      const locks = await Promise.all(Object.values(calls))
      expect(order).toEqual(names)
      const tokens = locks.map((lock) => lock.token)
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b))
      expect(tokens[0]).toBeGreaterThan(first.token)
    })

    it('is ended by the unlock itself: nobody can come in between', async () => {
      const [holder, waiter, other] = [newLocker(), newLocker(), newLocker()]
      for (let round = 0; round < 30; round++) {
        const lock = await holder.lock('resource')
        const next = waiter.lock('resource', { timeout })
        await scene.waiting('resource', 1)
        const unlocking = lock.unlock()
        const intruders = Array.from({ length: 5 }, () => other.tryLock('resource'))
        expect(await unlocking).toBe(true)
        expect(await Promise.all(intruders)).toEqual([null, null, null, null, null])
        await (await next).unlock()
      }
    })

    it('is ended at once, also the first time, long before anybody would ask', async () => {
      for (let round = 0; round < 10; round++) {
        const lock = await newLocker().lock('resource')
        const start = performance.now()
        const next = newLocker().lock('resource', { timeout })
        await scene.waiting('resource', 1)
        await lock.unlock()
        await (await next).unlock()
        expect(performance.now() - start).toBeLessThan(1500)
      }
    })

    it('keeps its order beside leases that end without an unlock', async () => {
      const [a, b] = [newLocker(), newLocker()]
      const first = await newLocker().lock('resource')
      const short = a.lock('resource', { timeout, expire: 0.3 })
      await scene.waiting('resource', 1)
      const order = []
      const calls = []
      for (const [index, locker] of [a, b, a].entries()) {
        const call = locker.lock('resource', { timeout, expire: 10 })
        calls.push(call.then((lock) => order.push(index) && lock.unlock()))
        await scene.waiting('resource', index + 2)
      }
      await first.unlock()
      await short
      await Promise.all(calls)
      expect(order).toEqual([0, 1, 2])
    })

    it('is ended by the end of a lease', async () => {
      await newLocker().lock('resource', { expire: 0.2 })
      const [first, second] = [newLocker(), newLocker()].map((locker) => locker.lock('resource', { timeout }))
      const lock = await Promise.race([first, second])
      expect(lock.held).toBe(true)
      await lock.unlock()
      for (const call of [first, second]) await call
    })

    it.each(['forceUnlock', 'purge'])('is ended by %s, and the holder loses the lock', async (method) => {
      const lock = await newLocker().lock('resource')
      await introduced(newLocker(), 'resource')
      const next = newLocker().lock('resource', { timeout })
      await scene.waiting('resource', 1)
      const loss = lossOf(lock)
      await newLocker()[method]('resource')
      expect((await next).token).toBeGreaterThan(lock.token)
      expect((await loss).reason).toBe('purged')
    })

    it('can be given up in every place of the queue, and the others keep theirs', async () => {
      const [even, odd] = [newLocker(), newLocker()]
      const names = ['head', 'a', 'b', 'middle', 'c', 'd', 'tail']
      const leaving = ['middle', 'head', 'tail']
      const controllers = Object.fromEntries(leaving.map((name) => [name, new AbortController()]))
      const first = await newLocker().lock('resource')
      const order = []
      const calls = await queue(
        names,
        (index) => [even, odd][index % 2],
        order,
        (name) => ({ signal: controllers[name]?.signal }),
      )
      for (const [index, name] of leaving.entries()) {
        controllers[name].abort(`no more ${name}`)
        expect(await calls[name]).toBe(`no more ${name}`)
        await scene.waiting('resource', names.length - index - 1)
      }
      await first.unlock()
      await Promise.all(Object.values(calls))
      expect(order).toEqual(['a', 'b', 'c', 'd'])
      expect(await even.inspect('resource')).toBeNull()
    })

    it('ends with its timeout in every place of the queue, and says which that was', async () => {
      const locker = newLocker()
      const lock = await newLocker().lock('resource', { expire: 20 })
      const patient = []
      const impatient = []
      for (let index = 0; index < 3; index++) {
        impatient.push(rejection(locker.lock('resource', { timeout: 1500 })))
        patient.push(newLocker().lock('resource', { timeout }))
        await scene.waiting('resource', 2 * index + 2)
      }
      const errors = await Promise.all(impatient)
      for (const error of errors) {
        expect(error).toBeInstanceOf(ResourceLockedError)
        expect(error.holder).toMatchObject({ pid: process.pid, token: lock.token })
        expect(error.leaseLeft).toBeGreaterThan(10_000)
      }
      // Those before them may have gone first.
      const positions = errors.map((error) => error.position)
      expect(positions[0]).toBe(1)
      expect([2, 3]).toContain(positions[1])
      expect([3, 4, 5]).toContain(positions[2])
      await scene.waiting('resource', 3)
      await lock.unlock()
      for (const call of patient) await (await call).unlock()
    })

    it('ends for null with tryLock', async () => {
      await newLocker().lock('resource')
      expect(await newLocker().tryLock('resource', { timeout: 50 })).toBeNull()
      await scene.waiting('resource', 0)
    })

    it('gives a grant that has crossed its cancel to the next in line', async () => {
      const locker = newLocker()
      const lock = await newLocker().lock('resource')
      const controller = new AbortController()
      const crossed = rejection(locker.lock('resource', { timeout, signal: controller.signal }))
      await scene.waiting('resource', 1)
      const next = newLocker().lock('resource', { timeout })
      await scene.waiting('resource', 2)
      const unlocking = lock.unlock()
      // The grant has come by then, but nobody has looked yet.
      block(100)
      controller.abort(new Error('too late'))
      expect((await crossed).message).toBe('too late')
      expect(await unlocking).toBe(true)
      await (await next).unlock()
      await until(async () => (await locker.inspect('resource')) === null, 'nothing is left')
    })

    it('leaves nothing behind at whatever moment it is cancelled', async () => {
      const [holder, waiter] = [newLocker(), newLocker()]
      for (let round = 0; round < 60; round++) {
        const lock = await holder.lock('resource')
        const controller = new AbortController()
        const call = waiter.lock('resource', { timeout, signal: controller.signal })
        setTimeout(() => controller.abort(), round % 4)
        setTimeout(() => lock.unlock(), (round / 4) % 4)
        const granted = await call.catch(() => null)
        if (granted) await granted.unlock()
        await until(async () => (await waiter.inspect('resource')) === null, 'nothing is left')
      }
    })

    it('ends when the locker is closed, for its own calls only', async () => {
      const [closing, other] = [newLocker(), newLocker()]
      const lock = await newLocker().lock('resource')
      const ours = []
      ours.push(rejection(closing.lock('resource', { timeout })))
      await scene.waiting('resource', 1)
      const theirs = other.lock('resource', { timeout })
      await scene.waiting('resource', 2)
      ours.push(rejection(closing.lock('resource', { timeout })))
      await scene.waiting('resource', 3)
      await closing.close()
      for (const error of await Promise.all(ours)) expect(error).toBeInstanceOf(ClosedError)
      await scene.waiting('resource', 1)
      await lock.unlock()
      expect((await theirs).held).toBe(true)
    })

    it('shows in inspect, in order', async () => {
      const locker = newLocker()
      const lock = await locker.lock('resource')
      const before = Date.now()
      const calls = []
      for (let index = 1; index <= 3; index++) {
        calls.push(newLocker().lock('resource', { timeout }))
        await scene.waiting('resource', index)
      }
      await introduced(locker, 'resource')
      const { holders, waiters, count } = await locker.inspect('resource')
      expect(holders.map((holder) => holder.token)).toEqual([lock.token])
      expect(count).toBe(4)
      for (const waiter of waiters) {
        expect(waiter).toEqual({
          clientId: expect.stringMatching(/^[0-9a-f]{16}$/),
          host: require('node:os').hostname(),
          pid: process.pid,
          since: expect.any(Date),
          mode: options?.mode ?? 'exclusive',
        })
        expect(Math.abs(waiter.since - before)).toBeLessThan(10_000)
      }
      const times = waiters.map((waiter) => waiter.since.getTime())
      expect(times).toEqual(times.toSorted((a, b) => a - b))
      expect(new Set(waiters.map((waiter) => waiter.clientId)).size).toBe(3)
      await lock.unlock()
      for (const call of calls) {
        const { token, unlock } = await call
        expect((await locker.inspect('resource')).holders[0].token).toBe(token)
        await unlock()
      }
    })

    it('is a turn for each of a thousand calls of one locker, and they never overlap', async () => {
      const locker = newLocker()
      let inside = 0
      let turns = 0
      const take = async () => {
        const lock = await locker.lock('resource', { timeout })
        expect(++inside).toBe(1)
        turns++
        await new Promise(setImmediate)
        inside--
        await lock.unlock()
      }
      await Promise.all(Array.from({ length: 1000 }, take))
      expect(turns).toBe(1000)
      expect(await locker.inspect('resource')).toBeNull()
    })

    it('gives a lock that is renewed, and that ends with maxHold', async () => {
      const lock = await newLocker().lock('resource')
      const next = newLocker().lock('resource', { timeout, expire: 0.2, renew: true, maxHold: 0.8 })
      await scene.waiting('resource', 1)
      await lock.unlock()
      const start = performance.now()
      const renewed = await next
      expect((await lossOf(renewed)).reason).toBe('expired')
      expect(performance.now() - start).toBeGreaterThan(600)
    })

    it('gives a lock that can be extended', async () => {
      const lock = await newLocker().lock('resource')
      const next = newLocker().lock('resource', { timeout, expire: 60 })
      await scene.waiting('resource', 1)
      await lock.unlock()
      const granted = await next
      expect(await granted.extend(100)).toBe(true)
      expect(granted.remaining()).toBeGreaterThan(90_000)
    })

    it('with a lease that is over before a thread has time again does not let it in', async () => {
      const lock = await newLocker().lock('resource')
      const [short, next] = [newLocker(), newLocker()]
      const brief = short.lock('resource', { timeout, expire: 0.2 })
      await scene.waiting('resource', 1)
      const patient = next.lock('resource', { timeout })
      await scene.waiting('resource', 2)
      const unlocking = lock.unlock()
      const end = performance.now() + 600
      while (performance.now() < end);
      const unlocked = patient.then((lock) => lock.unlock())
      const granted = await brief
      expect(granted.held).toBe(true)
      expect(await granted.unlock()).toBe(true)
      expect([await unlocking, await unlocked]).toEqual([true, true])
    })
  })
}

module.exports = { waiting }
