'use strict'

const { clusterScene } = require('../support/cluster-scene')
const { FaultyProxy } = require('../support/proxy')
const { rejection, until } = require('../support/until')

const host = '127.0.0.1'

// Slots that no node serves, or another one than a moment ago.
describe('a slot', () => {
  const scene = clusterScene({ primaries: 3, replicas: 0, fullCoverage: false })

  it('that no node serves is waited for, and found as soon as one does', async () => {
    const [name] = await scene.namesOn(scene.cluster.nodes[1], 1)
    const slot = scene.slot(name)
    const hasty = scene.newLocker({ settings: { commandTimeout: 500 } })
    const locker = scene.newLocker()
    for (const one of [hasty, locker]) await (await one.lock(name)).unlock()
    for (const node of scene.cluster.nodes) await node.call('CLUSTER', 'DELSLOTS', slot)
    for (let times = 0; times < 2; times++)
      expect((await rejection(hasty.lock(name))).code).toBe('ERR_REDIS_CLUSTERDOWN')
    const call = locker.lock(name)
    // The locker, too, knows of no node for it by then.
    await rejection(hasty.lock(name))
    await scene.cluster.nodes[1].call('CLUSTER', 'ADDSLOTS', slot)
    await scene.cluster.ready()
    const begin = performance.now()
    expect(await (await call).unlock()).toBe(true)
    expect(performance.now() - begin).toBeLessThan(1000)
  })

  it('that moves while its locks are purged is purged with the others', async () => {
    const [to, from] = scene.cluster.nodes
    const [name] = await scene.namesOn(from, 1)
    const proxy = await FaultyProxy.to(from.port)
    const natMap = { [`${host}:${from.port}`]: { host, port: proxy.port } }
    const locker = scene.newLocker({ natMap })
    await locker.lock(name)
    await to.call('CONFIG', 'RESETSTAT')
    proxy.holdRequests()
    const purge = locker.purge()
    await until(async () => (await to.server.commandCount('scan')) > 0, 'the other node is looked at')
    await scene.cluster.moveSlot(scene.slot(name), to)
    proxy.releaseRequests()
    await purge
    expect(await scene.cluster.keys(scene.key(name))).toEqual([])
    await proxy.close()
  })
})

describe('a slot that moves before replicas have a lock', () => {
  const scene = clusterScene({ primaries: 3, replicas: 1 })

  it('has the replicas of the other node asked', async () => {
    const [to, from] = scene.cluster.nodes
    const [warm, name] = await scene.namesOn(from, 2)
    const proxy = await FaultyProxy.to(from.port)
    const natMap = { [`${host}:${from.port}`]: { host, port: proxy.port } }
    const locker = scene.newLocker({ natMap, settings: { replicas: 1, replicaTimeout: 10_000 } })
    await (await locker.lock(warm)).unlock()
    proxy.holdUnsubscribed()
    const call = locker.lock(name)
    await until(async () => (await from.call('EXISTS', scene.key(name))) === 1, 'it is granted')
    await scene.cluster.moveSlot(scene.slot(name), to)
    proxy.releaseRequests()
    const lock = await call
    expect(lock.held).toBe(true)
    expect(await lock.unlock()).toBe(true)
    await proxy.close()
  })
})

describe('enable_offline_queue: false', () => {
  const scene = clusterScene({ primaries: 3, replicas: 0 })

  it('has calls reject at once until it is known which node is to be asked', async () => {
    const locker = scene.newLocker({ enable_offline_queue: false })
    const error = await rejection(locker.lock('resource'))
    expect(error.code).toBe('ERR_CONNECTION')
    expect(error.message).toContain('config.enable_offline_queue is off')
    const taken = () => locker.lock('resource').catch(() => undefined)
    expect(await (await until(taken)).unlock()).toBe(true)
  })
})
