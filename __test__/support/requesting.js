'use strict'

const { lockerScene, lossOf } = require('./scene')
const { rejection } = require('./until')

/**
 * What `request` does, whatever the driver is. `specOf(prefix)` makes the argument of `lockFactory`.
 */
function requesting(specOf) {
  const { newLocker, waiting } = lockerScene(specOf)

  describe('request', () => {
    it('runs the callback under a renewed lock, hands it the lock, and passes its value through', async () => {
      const locker = newLocker()
      const value = { any: 'thing' }
      const result = await locker.request('resource', { expire: 1 }, async (lock) => {
        expect(lock).toMatchObject({ name: 'resource', mode: 'exclusive' })
        expect(Number.isSafeInteger(lock.token)).toBe(true)
        expect(lock.signal.aborted).toBe(false)
        await new Promise((resolve) => setTimeout(resolve, 1500))
        expect(await locker.isLocked('resource')).toBe(true)
        expect(lock.signal.aborted).toBe(false)
        return value
      })
      expect(result).toBe(value)
      expect(await locker.isLocked('resource')).toBe(false)
    })

    it('passes through what the callback throws, and gives the lock up', async () => {
      const locker = newLocker()
      const thrown = new Error('from the work')
      expect(await rejection(locker.request('resource', () => Promise.reject(thrown)))).toBe(thrown)
      const sync = () => {
        throw thrown
      }
      expect(await rejection(locker.request('resource', sync))).toBe(thrown)
      expect(await locker.isLocked('resource')).toBe(false)
    })

    it('passes the value through also when the lock was lost meanwhile', async () => {
      const locker = newLocker()
      const result = await locker.request('resource', async (lock) => {
        await newLocker().purge()
        return (await lossOf(lock)).reason
      })
      expect(result).toBe('purged')
    })

    it('waits for its turn', async () => {
      const locker = newLocker()
      const first = await locker.lock('resource')
      let entered = false
      const second = locker.request('resource', async () => {
        entered = true
      })
      await waiting('resource', 1)
      expect(entered).toBe(false)
      await first.unlock()
      await second
      expect(entered).toBe(true)
    })

    it('with ifAvailable calls back with null instead of waiting', async () => {
      const locker = newLocker()
      await locker.lock('resource')
      expect(await locker.request('resource', { ifAvailable: true }, async (lock) => lock)).toBeNull()
      expect(await locker.request('free', { ifAvailable: true }, async (lock) => lock.name)).toBe('free')
    })

    it('ends the waiting with the reason of a signal', async () => {
      const locker = newLocker()
      await locker.lock('resource')
      const controller = new AbortController()
      const never = jest.fn()
      const waiting = rejection(locker.request('resource', { signal: controller.signal }, never))
      controller.abort()
      expect((await waiting).name).toBe('AbortError')
      expect(never).not.toHaveBeenCalled()
    })

    it('does not read options that are inherited', async () => {
      const locker = newLocker()
      const left = await locker.request('resource', Object.create({ expire: 5 }), async () => {
        return (await locker.inspect('resource')).holders[0].leaseLeft
      })
      expect(left).toBeGreaterThan(5000)
    })

    it('makes a name of anything but a symbol, as the specification does', async () => {
      expect(await newLocker().request(42, async (lock) => lock.name)).toBe('42')
    })

    it('rejects wrong arguments as the specification does', async () => {
      const locker = newLocker()
      const work = async () => {}
      for (const [args, name] of [
        [['resource'], 'TypeError'],
        [['resource', {}, 'no function'], 'TypeError'],
        [['resource', 42, work], 'TypeError'],
        [['resource', { mode: 'other' }, work], 'TypeError'],
        [['resource', { modes: 'exclusive' }, work], 'TypeError'],
        [['-reserved', work], 'NotSupportedError'],
        [['resource', { steal: true, ifAvailable: true }, work], 'NotSupportedError'],
        [['resource', { steal: true, mode: 'shared' }, work], 'NotSupportedError'],
        [['resource', { steal: true, signal: AbortSignal.timeout(1000) }, work], 'NotSupportedError'],
        [['resource', { steal: true, timeout: 1 }, work], 'TypeError'],
        [['resource', { limit: 2 }, work], 'TypeError'],
        [['resource', { mode: 'shared', limit: 0 }, work], 'RangeError'],
        [['resource', { ifAvailable: true, timeout: 1 }, work], 'TypeError'],
        [['resource', { ifAvailable: true, signal: AbortSignal.timeout(1000) }, work], 'NotSupportedError'],
        [['', work], 'TypeError'],
        [[Symbol('name'), work], 'TypeError'],
      ]) {
        expect((await rejection(locker.request(...args))).name).toBe(name)
      }
    })
  })
}

module.exports = { requesting }
