'use strict'

const os = require('node:os')
const { introduced, lockerScene, lossOf } = require('./scene')
const { until } = require('./until')

const timeout = Number.POSITIVE_INFINITY

/**
 * What `query` tells, whatever the driver is. `specOf(prefix)` makes the argument of `lockFactory`.
 */
function querying(specOf) {
  const { newLocker, waiting } = lockerScene(specOf)

  describe('query', () => {
    const namesOf = (list) => list.map(({ name }) => name)

    it('tells what the locker itself holds and waits for, to the moment', async () => {
      const locker = newLocker()
      expect(await locker.query()).toEqual({ held: [], pending: [] })
      const lock = await locker.lock('a', { expire: 20 })
      const reader = await locker.lock('b', { mode: 'shared' })
      const call = locker.lock('a', { timeout, mode: 'shared' })
      await waiting('a', 1)
      const { held, pending } = await locker.query()
      expect(held).toEqual([
        {
          name: 'a',
          mode: 'exclusive',
          clientId: expect.stringMatching(/^[0-9a-f]{16}$/),
          host: os.hostname(),
          pid: process.pid,
          since: expect.any(Date),
          token: lock.token,
          leaseLeft: expect.any(Number),
        },
        expect.objectContaining({ name: 'b', mode: 'shared', token: reader.token }),
      ])
      expect(held[0].leaseLeft).toBeGreaterThan(10_000)
      expect(held[0].leaseLeft).toBeLessThanOrEqual(20_000)
      const { clientId, host, pid } = held[0]
      expect(pending).toEqual([{ name: 'a', mode: 'shared', clientId, host, pid, since: expect.any(Date) }])
      await lock.unlock()
      const granted = await call
      expect(await locker.query()).toMatchObject({
        held: [
          { name: 'b', token: reader.token },
          { name: 'a', mode: 'shared', token: granted.token },
        ],
        pending: [],
      })
      await granted.unlock()
      await reader.unlock()
      expect(await locker.query()).toEqual({ held: [], pending: [] })
    })

    it('shows a deadlock by the ids of the clients, which are the same for all locks of one', async () => {
      const [a, b] = [newLocker(), newLocker()]
      const locks = [await a.lock('one'), await b.lock('two')]
      const controller = new AbortController()
      const wait = (locker, name) =>
        locker.lock(name, { timeout, signal: controller.signal }).catch((reason) => reason.name)
      const calls = [wait(a, 'two')]
      await waiting('two', 1)
      calls.push(wait(b, 'one'))
      await waiting('one', 1)
      const told = async () => {
        const { held, pending } = await a.query()
        return held.length === 2 && pending.length === 2 && { held, pending }
      }
      const { held, pending } = await until(told, 'all is told')
      const ids = new Map(held.map(({ name, clientId }) => [name, clientId]))
      expect(ids.get('one')).not.toBe(ids.get('two'))
      // In order of arrival.
      expect(pending.map(({ name, clientId }) => [name, clientId])).toEqual([
        ['two', ids.get('one')],
        ['one', ids.get('two')],
      ])
      controller.abort()
      expect(await Promise.all(calls)).toEqual(['AbortError', 'AbortError'])
      for (const lock of locks) expect(await lock.unlock()).toBe(true)
    })

    it('is for one prefix, and refused when the locker is closed', async () => {
      const locker = newLocker()
      await locker.lock('mine')
      const other = newLocker(`other-${Math.random()}:`)
      expect(await other.query()).toEqual({ held: [], pending: [] })
      await other.close()
      await expect(other.query()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    })

    it('tells what others hold and wait for, and when that is over', async () => {
      const [a, b, watcher] = [newLocker(), newLocker(), newLocker()]
      const lock = await a.lock('ключ 🔑', { renew: true, expire: 5 })
      const readers = [await a.lock('b', { mode: 'shared' }), await b.lock('b', { mode: 'shared' })]
      const call = b.lock('ключ 🔑', { timeout })
      await waiting('ключ 🔑', 1)
      const seen = async () => {
        const { held, pending } = await watcher.query()
        return held.length === 3 && pending.length === 1 && { held, pending }
      }
      const { held, pending } = await until(seen, 'all is told')
      expect(namesOf(held)).toEqual(['ключ 🔑', 'b', 'b'])
      expect(held[0]).toMatchObject({ token: lock.token, mode: 'exclusive', pid: process.pid })
      expect(held.slice(1).map(({ token }) => token)).toEqual(readers.map(({ token }) => token))
      expect(pending).toMatchObject([{ name: 'ключ 🔑', mode: 'exclusive', clientId: held[2].clientId }])
      await lock.unlock()
      await (await call).unlock()
      for (const reader of readers) await reader.unlock()
      await until(async () => (await watcher.query()).held.length === 0, 'nothing is held')
      expect(await watcher.query()).toEqual({ held: [], pending: [] })
    })

    it('tells nothing of locks whose leases have ended, or that were taken away', async () => {
      const [locker, watcher] = [newLocker(), newLocker()]
      const short = await locker.lock('short', { expire: 0.4 })
      await locker.lock('long')
      await introduced(watcher, 'long')
      const seen = async () => namesOf((await watcher.query()).held)
      await until(async () => (await seen()).includes('long'), 'it is told')
      await lossOf(short)
      await until(async () => String(await seen()) === 'long', 'the other one has ended')
      expect(namesOf((await locker.query()).held)).toEqual(['long'])
      await watcher.forceUnlock('long')
      await until(async () => (await locker.query()).held.length === 0, 'it is lost')
      expect(await watcher.query()).toEqual({ held: [], pending: [] })
    })

    it('tells thousands', async () => {
      const [locker, watcher] = [newLocker(), newLocker()]
      const names = Array.from({ length: 3000 }, (_, index) => `name ${index}`)
      const locks = await Promise.all(names.map((name) => locker.lock(name)))
      const all = async () => {
        const { held } = await watcher.query()
        return held.length === names.length && held
      }
      expect(namesOf(await until(all, 'all are told')).sort()).toEqual(names.sort())
      await Promise.all(locks.map((lock) => lock.unlock()))
      expect((await watcher.query()).held).toEqual([])
    })
  })
}

module.exports = { querying }
