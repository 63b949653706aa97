'use strict'

const crypto = require('node:crypto')
const lockFactory = require('..')
const { oldLocker } = require('./support/lock-inc-1.2.0')
const { randomFrom, seeds } = require('./support/random')
const { SERVERS, startRedis } = require('./support/redis-server')
const { introduced } = require('./support/scene')
const { until } = require('./support/until')

// Random steps of three lockers and two old clients on two resources, against a model that knows who holds what.
describe.each(SERVERS)('whatever happens in whatever order (%s)', (name) => {
  let server
  let prefix
  let lockers
  let old

  beforeAll(async () => {
    server = await startRedis({ name })
  })

  afterAll(() => server.stop())

  beforeEach(async () => {
    await server.call('FLUSHALL')
    prefix = `${crypto.randomUUID()}:`
    const spec = { driver: 'redis', config: { port: server.port }, settings: { prefix } }
    lockers = Array.from({ length: 3 }, () => lockFactory(spec))
    old = oldLocker({ port: server.port, prefix })
  })

  afterEach(async () => {
    await Promise.all(lockers.map((locker) => locker.close()))
    await old.close()
  })

  it.each(seeds(3))(
    'there is one holder, tokens grow, and nobody gives up what another one holds (seed %i)',
    async (seed) => {
      const random = randomFrom(seed)
      const pick = (list) => list[Math.floor(random() * list.length)]
      const key = (resource) => prefix + lockFactory.hash(resource)
      const resources = ['a', 'b']
      /** Who holds a resource: a Lock, 'old', or nobody. */
      const holder = { a: undefined, b: undefined }
      const locks = []
      const log = []
      let lastToken = 0

      const steps = {
        async lock() {
          const resource = pick(resources)
          const renew = random() < 0.5
          const lock = await pick(lockers).tryLock(resource, { expire: 100, renew })
          expect(lock === null).toBe(holder[resource] !== undefined)
          if (lock) {
            expect(lock.token).toBeGreaterThan(lastToken)
            lastToken = lock.token
            holder[resource] = lock
            locks.push(lock)
          }
          return `${resource} ${lock ? 'granted' : 'locked'}`
        },
        async unlock() {
          if (locks.length === 0) return 'none'
          const lock = locks.splice(Math.floor(random() * locks.length), 1)[0]
          const mine = holder[lock.resourceId] === lock
          expect(await lock.unlock()).toBe(mine)
          if (mine) holder[lock.resourceId] = undefined
          return `${lock.resourceId} ${mine}`
        },
        async extend() {
          if (locks.length === 0) return 'none'
          const lock = pick(locks)
          expect(await lock.extend(50 + random() * 100)).toBe(holder[lock.resourceId] === lock)
          return lock.resourceId
        },
        async expire() {
          const resource = pick(resources)
          // Nothing is asked for it from then on for long.
          if (holder[resource]?.token) await introduced(lockers[0], resource)
          for (const name of [key(resource), `${key(resource)}:clients`])
            await server.call('PEXPIRE', name, 1)
          await until(async () => !(await lockers[0].isLocked(resource)))
          holder[resource] = undefined
          return resource
        },
        async oldLock() {
          const resource = pick(resources)
          expect((await old.lock(resource)) === 1).toBe(holder[resource] === undefined)
          holder[resource] ??= 'old'
          return resource
        },
        async oldUnlock() {
          // Blindly, as it is.
          const resource = pick(resources)
          await old.unlock(resource)
          holder[resource] = undefined
          return resource
        },
        async forceUnlock() {
          const resource = pick(resources)
          expect(await pick(lockers).forceUnlock(resource)).toBe(holder[resource] !== undefined)
          holder[resource] = undefined
          return resource
        },
        async purge() {
          await pick(lockers).purge()
          for (const resource of resources) holder[resource] = undefined
          return ''
        },
        async forgetScripts() {
          await server.call('SCRIPT', 'FLUSH')
          return ''
        },
        async dropConnections() {
          await server.call('CLIENT', 'KILL', 'TYPE', 'pubsub', 'SKIPME', 'yes')
          return ''
        },
      }
      const often = ['lock', 'lock', 'lock', 'lock', 'unlock', 'unlock', 'extend', 'oldLock']

      try {
        for (let step = 0; step < 250; step++) {
          const name = random() < 0.75 ? pick(often) : pick(Object.keys(steps))
          log.push(name)
          log.push(await steps[name]())
          for (const resource of resources) {
            const locker = pick(lockers)
            expect(await locker.isLocked(resource)).toBe(holder[resource] !== undefined)
            const seen = await locker.inspect(resource)
            const token = holder[resource]?.token ?? null
            // Of a young lock it is not known.
            expect([null, token]).toContain(seen?.holders[0].token ?? null)
            expect(seen?.holders.map(({ pid }) => pid !== null) ?? []).toEqual(
              holder[resource] === undefined ? [] : [token !== null],
            )
            // Whoever holds knows it. (Whoever does not learns of it by a notice, which may take a moment.)
            if (token) expect(holder[resource].held).toBe(true)
          }
        }
      } catch (error) {
        error.message += `\nafter: ${log.join(' ')}`
        throw error
      }
      for (const lock of locks) await lock.unlock()
      for (const resource of resources) await old.unlock(resource)
      expect(await server.keys(`${prefix}*`)).toEqual([`${prefix}fence`])
    },
  )
})
