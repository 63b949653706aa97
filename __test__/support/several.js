'use strict'

const lockFactory = require('../..')
const { lockerScene, lossOf } = require('./scene')
const { rejection } = require('./until')

const { ResourceLockedError } = lockFactory
const timeout = Number.POSITIVE_INFINITY

/**
 * What holds for locks on several resources at once, whatever the driver is. `specOf(prefix)` makes the argument of
 * `lockFactory`.
 */
function several(specOf) {
  const { newLocker, waiting } = lockerScene(specOf)

  describe('several resources', () => {
    it('are locked together: one lock that has the names as given, each once, and a token of each', async () => {
      const [locker, other] = [newLocker(), newLocker()]
      const lock = await locker.lock(['b', 'a', 'c', 'a'])
      expect(lock.resourceIds).toEqual(['b', 'a', 'c'])
      expect([...lock.tokens.keys()]).toEqual(['b', 'a', 'c'])
      expect(new Set(lock.tokens.values()).size).toBe(3)
      expect(lock.held).toBe(true)
      expect(lock.remaining()).toBeGreaterThan(50_000)
      for (const name of ['a', 'b', 'c']) expect(await other.tryLock(name)).toBeNull()
      expect(await lock.unlock()).toBe(true)
      expect(lock.held).toBe(false)
      expect(() => lock.unlock()).toThrow('Not locked')
      for (const [name, token] of lock.tokens) {
        expect((await other.lock(name)).token).toBeGreaterThan(token)
      }
    })

    it('are all refused where one is held, and the error says which', async () => {
      const [locker, other] = [newLocker(), newLocker()]
      await other.lock('b')
      const error = await rejection(locker.lock(['a', 'b', 'c']))
      expect(error).toBeInstanceOf(ResourceLockedError)
      expect(error).toMatchObject({
        resourceId: 'b',
        resourceIds: ['a', 'b', 'c'],
        details: { resourceId: 'b', numberOfLocks: 2 },
      })
      expect(error.holder.pid).toBe(process.pid)
      expect(await locker.tryLock(['c', 'b'])).toBeNull()
      for (const name of ['a', 'c']) expect(await other.isLocked(name)).toBe(false)
    })

    it('are waited for, one after the other, and what is there is kept meanwhile', async () => {
      const [locker, other] = [newLocker(), newLocker()]
      const names = ['a', 'b', 'c', 'd']
      const held = await Promise.all(names.map((name) => other.lock(name)))
      const call = locker.lock(names, { timeout, expire: 0.6 })
      const tokens = {}
      // In whichever order they are asked for, each becomes free only after the lease of the one before would have ended.
      for (const lock of [...held].sort((a, b) => (a.key < b.key ? -1 : 1))) {
        await waiting(lock.resourceId, 1)
        await new Promise((resolve) => setTimeout(resolve, 400))
        tokens[lock.resourceId] = lock.token
        await lock.unlock()
      }
      const lock = await call
      expect(lock.remaining()).toBeGreaterThan(0)
      for (const name of names) expect(lock.tokens.get(name)).toBeGreaterThan(tokens[name])
      expect(await lock.unlock()).toBe(true)
    })

    it('do not deadlock, in whichever order they are named, and exclude each other', async () => {
      const lockers = [newLocker(), newLocker(), newLocker()]
      const names = ['a', 'b', 'c', 'd', 'e']
      const inside = new Set()
      let served = 0
      const work = async (index) => {
        const mine = names.filter((_, place) => (place * 7 + index) % 5 < 3)
        if (index % 2) mine.reverse()
        const lock = await lockers[index % 3].lock(mine, { timeout })
        for (const name of mine) {
          expect(inside.has(name)).toBe(false)
          inside.add(name)
        }
        await new Promise((resolve) => setImmediate(resolve))
        for (const name of mine) inside.delete(name)
        expect(await lock.unlock()).toBe(true)
        served++
      }
      await Promise.all(Array.from({ length: 30 }, (_, index) => work(index)))
      expect(served).toBe(30)
    })

    it('that are not all there when the time is over are given back', async () => {
      const [locker, other] = [newLocker(), newLocker()]
      await other.lock('b')
      const error = await rejection(locker.lock(['a', 'b', 'c'], { timeout: 200 }))
      expect(error).toMatchObject({ code: 'ERR_RESOURCE_LOCKED', resourceId: 'b' })
      for (const name of ['a', 'c'])
        expect(await (await other.lock(name, { timeout: 5000 })).unlock()).toBe(true)
    })

    it('that are not all there when the signal aborts are given back', async () => {
      const [locker, other] = [newLocker(), newLocker()]
      const held = await other.lock('b')
      const controller = new AbortController()
      const call = rejection(locker.lock(['a', 'b', 'c'], { timeout, signal: controller.signal }))
      await waiting('b', 1)
      controller.abort(new Error('enough'))
      expect((await call).message).toBe('enough')
      for (const name of ['a', 'c'])
        expect(await (await other.lock(name, { timeout: 5000 })).unlock()).toBe(true)
      expect(await held.unlock()).toBe(true)
    })

    it('are lost with the first of them, which the signal names', async () => {
      const lock = await newLocker().lock(['a', 'b'])
      const lost = lossOf(lock)
      await newLocker().forceUnlock('b')
      expect(await lost).toMatchObject({ code: 'ERR_LOCK_LOST', reason: 'purged', resourceId: 'b' })
      expect(lock.held).toBe(false)
      expect(lock.remaining()).toBe(0)
      expect(await lock.extend(5)).toBe(false)
      expect(await lock.unlock()).toBe(false)
      expect(await newLocker().isLocked('a')).toBe(false)
    })

    it('can be shared, extended, renewed, disposed of, and given up by the locker', async () => {
      const [locker, other] = [newLocker(), newLocker()]
      const one = await locker.lock(['a', 'b'], { mode: 'shared', expire: 1, renew: true })
      const two = await other.lock(['b', 'a'], { mode: 'shared' })
      expect(await other.tryLock('a')).toBeNull()
      expect(await two.extend(300)).toBe(true)
      expect(two.remaining()).toBeGreaterThan(200_000)
      await new Promise((resolve) => setTimeout(resolve, 1600))
      expect(one.held).toBe(true)
      expect(await locker.unlock(one)).toBe(true)
      expect(() => other.unlock(one)).toThrow('The lock was taken by another locker')
      await two[Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]()
      expect(await other.isLocked('a')).toBe(false)
    })

    it('are requested together', async () => {
      const locker = newLocker()
      const seen = await locker.request(['a', 'b'], async (lock) => {
        expect(await newLocker().tryLock('b')).toBeNull()
        const { names, mode, tokens, signal } = lock
        return { names, mode, tokens: tokens.size, aborted: signal.aborted }
      })
      expect(seen).toEqual({ names: ['a', 'b'], mode: 'exclusive', tokens: 2, aborted: false })
      await locker.lock('b')
      expect(await locker.request(['a', 'b'], { ifAvailable: true }, (lock) => lock)).toBeNull()
      expect(await locker.isLocked('a')).toBe(false)
    })

    it('may be a hundred, and are no more than a thousand', async () => {
      const locker = newLocker()
      const names = Array.from({ length: 100 }, (_, index) => `name ${index}`)
      const lock = await locker.lock(names)
      expect(lock.tokens.size).toBe(100)
      expect(await lock.unlock()).toBe(true)
      const thousand = Array.from({ length: 1001 }, (_, index) => `${index}`)
      expect(() => locker.lock(thousand)).toThrow(RangeError)
      expect(await (await locker.lock(thousand.slice(1))).unlock()).toBe(true)
      expect(() => locker.lock([])).toThrow(TypeError)
      expect(() => locker.lock(['a', 7])).toThrow(TypeError)
      expect(() => locker.lock(new Array(2))).toThrow(TypeError)
      // Both are the same in the store.
      const same = await locker.lock(['\ud800', '\ufffd'])
      expect(same.tokens.size).toBe(1)
      expect(await same.unlock()).toBe(true)
      const stealing = () => locker.lock(['a', 'b'], { steal: true })
      expect(stealing).toThrow(expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }))
    })
  })
}

module.exports = { several }
