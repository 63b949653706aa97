'use strict'

const lockFactory = require('../..')
const { behaviour } = require('../support/behaviour')
const { Cluster } = require('../support/cluster')
const { clusterScene } = require('../support/cluster-scene')
const { holding } = require('../support/holding')
const { oldLocker } = require('../support/lock-inc-1.2.0')
const { querying } = require('../support/querying')
const { SERVERS, startRedis } = require('../support/redis-server')
const { requesting } = require('../support/requesting')
const { introduced } = require('../support/scene')
const { several } = require('../support/several')
const { sharing } = require('../support/sharing')
const { slotOf } = require('../support/slots')
const { rejection, until } = require('../support/until')
const { waiting } = require('../support/waiting')

const timeout = Number.POSITIVE_INFINITY

/** What a locker does on one server it does on three primaries: all of it on one version, the rest on each. */
describe.each(SERVERS)('a locker on a cluster of %s', (name) => {
  let cluster

  beforeAll(async () => {
    cluster = await Cluster.start({ name, replicas: 0 })
  }, 30_000)

  afterAll(() => cluster?.stop())

  const specOf = (prefix) => ({
    driver: 'redis',
    config: { nodes: cluster.addresses() },
    settings: { prefix },
  })
  querying(specOf)
  several(specOf)
  if (name === SERVERS[0]) {
    behaviour(specOf)
    holding(specOf)
    requesting(specOf)
    sharing(specOf)
    waiting(specOf)
  }
})

describe('on a cluster', () => {
  const scene = clusterScene({ replicas: 0 })
  const { newLocker, newLockers, key, namesOn } = scene

  /** A name on each primary. */
  const oneOnEach = async () => {
    const primaries = await scene.cluster.primaries()
    return Promise.all(primaries.map(async ({ node }) => (await namesOn(node, 1))[0]))
  }

  it('the keys of a lock are in the slot of its name, wherever that is, and registers alone are left', async () => {
    const locker = newLocker()
    const names = await oneOnEach()
    const locks = await Promise.all(names.map((name) => locker.lock(name)))
    const calls = names.map((name) => newLocker().lock(name, { timeout }))
    for (const name of names) await scene.waiting(name, 1)
    for (const name of names) await introduced(locker, name)
    for (const name of names) {
      const { server } = await scene.nodeOf(name)
      const keys = await server.keys(`${scene.prefix}*`)
      expect(keys.filter((key) => !key.endsWith('fence'))).toEqual(
        [key(name), `${key(name)}:clients`, `${key(name)}:queue`].sort(),
      )
      expect(keys.filter((key) => key.endsWith('fence')).map(slotOf)).toEqual([scene.slot(name)])
    }
    for (const lock of locks) await lock.unlock()
    for (const call of calls) await (await call).unlock()
    const left = await scene.cluster.keys(`${scene.prefix}*`)
    expect(left).toHaveLength(names.length)
    for (const key of left) expect(key.slice(scene.prefix.length)).toMatch(/^\{[0-9A-Za-z]{1,3}\}fence$/)
  })

  it('one seed is enough, also as host and port or in a URL, and a node is a seed whatever it has', async () => {
    const [{ port }] = scene.cluster.nodes
    const configs = [
      { nodes: scene.cluster.addresses().slice(2) },
      { nodes: undefined, cluster: true, port },
      { nodes: undefined, cluster: true, url: `redis://127.0.0.1:${port}` },
    ]
    const names = await oneOnEach()
    for (const config of configs) {
      const locker = newLocker(config)
      for (const name of names) expect(await (await locker.lock(name)).unlock()).toBe(true)
    }
  })

  it('a thousand locks over all nodes are taken, listed and purged', async () => {
    const [locker, other, watcher] = newLockers(3)
    const names = Array.from({ length: 1000 }, (_, index) => `name ${index}`)
    const locks = await Promise.all(names.map((name, index) => [locker, other][index % 2].lock(name)))
    const all = async () => {
      const { held } = await watcher.query()
      return held.length === names.length && held
    }
    const held = await until(all, 'all are told')
    const tokens = new Map(held.map(({ name, token }) => [name, token]))
    expect(locks.filter(({ resourceId, token }) => tokens.get(resourceId) !== token)).toEqual([])
    for (const { node } of await scene.cluster.primaries()) {
      expect((await node.server.keys(`${scene.prefix}*`)).length).toBeGreaterThan(200)
    }
    await watcher.purge()
    expect((await watcher.query()).held).toEqual([])
    expect(await Promise.all(names.map((name) => locker.isLocked(name)))).toEqual(names.map(() => false))
    const lost = ({ held, signal }) => !held && signal.aborted
    await until(() => locks.every(lost), 'all holders are told')
  })

  it('names on several nodes are locked together or not at all', async () => {
    const [locker, other] = newLockers(2)
    const names = await oneOnEach()
    for (const taken of names) {
      const lock = await other.lock(taken)
      expect(await rejection(locker.lock(names))).toMatchObject({
        code: 'ERR_RESOURCE_LOCKED',
        resourceId: taken,
      })
      for (const name of names) expect(await other.isLocked(name)).toBe(name === taken)
      const call = locker.lock(names, { timeout })
      await scene.waiting(taken, 1)
      await lock.unlock()
      const together = await call
      expect(together.held).toBe(true)
      expect(together.tokens.get(taken)).toBeGreaterThan(lock.token)
      expect(await other.tryLock(names)).toBeNull()
      expect(await together.unlock()).toBe(true)
      for (const name of names) expect(await other.isLocked(name)).toBe(false)
    }
  })

  it('whoever waits for several names in opposite orders is served', async () => {
    const lockers = newLockers(4)
    const names = await oneOnEach()
    let inside = 0
    const take = async (index) => {
      const mine = index % 2 ? names : names.toReversed()
      const lock = await lockers[index % 4].lock(mine, { timeout })
      expect(++inside).toBe(1)
      await new Promise(setImmediate)
      inside--
      expect(await lock.unlock()).toBe(true)
    }
    await Promise.all(Array.from({ length: 40 }, (_, index) => take(index)))
  })

  it('scripts that all nodes have forgotten are sent again', async () => {
    const locker = newLocker()
    const names = await oneOnEach()
    const round = async () => {
      for (const name of names) {
        const lock = await locker.lock(name)
        const next = locker.lock(name, { timeout })
        await scene.waiting(name, 1)
        expect(await lock.unlock()).toBe(true)
        expect(await (await next).unlock()).toBe(true)
      }
    }
    await round()
    for (const node of scene.cluster.nodes) await node.call('SCRIPT', 'FLUSH')
    await round()
  })

  describe('a prefix with a hash tag', () => {
    const prefix = () => `{${scene.prefix}}lock:`
    const inSlot = (name) => ({ settings: { prefix: prefix() }, ...name })

    it('has the keys that it has on one server, all in one slot', async () => {
      const server = await startRedis()
      const keysOf = async (locker, read) => {
        const lock = await locker.lock('resource')
        const call = locker.lock('resource', { timeout })
        await until(async () => (await locker.inspect('resource')).waiters.length === 1, 'it waits')
        await introduced(locker, 'resource')
        const keys = await read()
        await lock.unlock()
        await (await call).unlock()
        return [keys, await read()]
      }
      const onCluster = await keysOf(newLocker(inSlot()), () => scene.cluster.keys(`${prefix()}*`))
      const alone = newLocker(inSlot({ nodes: undefined, port: server.port }))
      const onServer = await keysOf(alone, () => server.keys(`${prefix()}*`))
      expect(onCluster).toEqual(onServer)
      expect(onCluster[0]).toContain(prefix() + lockFactory.hash('resource'))
      expect(onCluster[1]).toEqual([`${prefix()}fence`])
      expect(new Set(onCluster.flat().map(slotOf)).size).toBe(1)
      await alone.close()
      await server.stop()
    })

    it('excludes lock-inc 1.2.0, and is excluded by it', async () => {
      const node = await scene.cluster.primaryOf(slotOf(prefix()))
      const old = oldLocker({ port: node.port, prefix: prefix() })
      const locker = newLocker(inSlot())
      expect(await old.lock('resource')).toBe(1)
      expect(await locker.tryLock('resource')).toBeNull()
      await old.unlock('resource')
      const lock = await locker.lock('resource')
      expect(await old.lock('resource')).toBeGreaterThan(1)
      expect(await lock.unlock()).toBe(true)
      expect(await old.lock('resource')).toBe(1)
      await locker.purge()
      expect(await old.isLocked('resource')).toBe(false)
      await old.close()
    })

    it('has all of its locks on one node', async () => {
      const locker = newLocker(inSlot())
      const names = Array.from({ length: 50 }, (_, index) => `name ${index}`)
      const lock = await locker.lock(names)
      const counts = scene.cluster.nodes.map(async ({ server }) => (await server.keys(`${prefix()}*`)).length)
      expect((await Promise.all(counts)).sort((a, b) => a - b)).toEqual([0, 0, 51])
      expect(await lock.unlock()).toBe(true)
    })
  })

  it('one of its nodes is no server alone: the error says what to set', async () => {
    for (const { port } of scene.cluster.nodes) {
      const locker = newLocker({ nodes: undefined, port })
      const errors = []
      for (const name of await oneOnEach()) errors.push(await rejection(locker.lock(name)))
      for (const error of errors) {
        expect(error).toBeInstanceOf(lockFactory.RedisError)
        expect(error.code).toBe('ERR_REDIS_MOVED')
        expect(error.message).toContain('config.cluster')
      }
    }
  })
})
