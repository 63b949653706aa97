'use strict'

const net = require('node:net')
const lockFactory = require('../..')
const { clusterScene } = require('../support/cluster-scene')
const { Load } = require('../support/load')
const { freePort } = require('../support/redis-server')
const { rejection, until } = require('../support/until')

const { ConnectionError } = lockFactory
const host = '127.0.0.1'

// Seeds, nodes that are not to be had, and addresses that lead nowhere.
describe('of the seeds', () => {
  const scene = clusterScene({ primaries: 3, replicas: 0 })

  /** The name of a lock on each primary is taken through this locker. */
  const reachesAll = async (locker) => {
    for (const { node } of await scene.cluster.primaries()) {
      const [name] = await scene.namesOn(node, 1)
      expect(await (await locker.lock(name)).unlock()).toBe(true)
    }
  }

  it('one that answers is enough, whichever it is', async () => {
    const away = await Promise.all([freePort(), freePort()])
    for (const [place, living] of scene.cluster.addresses().entries()) {
      const nodes = away.map((port) => ({ host, port }))
      nodes.splice(place, 0, living)
      const begin = performance.now()
      await reachesAll(scene.newLocker({ nodes }))
      expect(performance.now() - begin).toBeLessThan(2000)
    }
  })

  it('one that accepts connections and says nothing does not keep the others from being asked', async () => {
    const silent = net.createServer((socket) => socket.on('error', () => {})).listen(0, host)
    await new Promise((resolve) => silent.once('listening', resolve))
    const nodes = [{ host, port: silent.address().port }, ...scene.cluster.addresses()]
    const begin = performance.now()
    await reachesAll(scene.newLocker({ nodes }))
    expect(performance.now() - begin).toBeLessThan(6000)
    silent.close()
  })

  it('none answers: calls fail at their deadline, and the error has the true cause', async () => {
    const nodes = [{ port: await freePort() }, { port: await freePort() }]
    const locker = scene.newLocker({ nodes, settings: { commandTimeout: 700 } })
    const begin = performance.now()
    const error = await rejection(locker.lock('resource'))
    expect(performance.now() - begin).toBeGreaterThan(600)
    expect(performance.now() - begin).toBeLessThan(2000)
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error).toMatchObject({ code: 'ERR_CONNECTION', cause: { code: 'ECONNREFUSED' } })
  })

  it('none answers at first: calls wait for one', async () => {
    const [node] = scene.cluster.nodes
    await node.kill()
    const locker = scene.newLocker({ nodes: [{ port: node.port }] })
    const call = locker.lock('resource')
    await node.restart()
    await scene.cluster.ready()
    expect(await (await call).unlock()).toBe(true)
  })

  it('all go away later: the locker goes on with the nodes that it has learned of', async () => {
    const [seed] = scene.cluster.nodes
    const other = scene.cluster.nodes[1]
    const locker = scene.newLocker({ nodes: [{ port: seed.port }] })
    await reachesAll(locker)
    for (const node of scene.cluster.living())
      await node.call('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
    await seed.kill()
    const names = await scene.namesOn(other, 3)
    for (const name of names) expect(await (await locker.lock(name)).unlock()).toBe(true)
    // Its connection is lost, too: the table is all that is left of the cluster.
    await other.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    for (const name of names) expect(await (await locker.lock(name)).unlock()).toBe(true)
    for (const node of scene.cluster.living())
      await node.call('CONFIG', 'SET', 'cluster-require-full-coverage', 'yes')
  })
})

describe('where a primary without a replica dies', () => {
  const scene = clusterScene({ primaries: 3, replicas: 0, nodeTimeout: 1000 })

  const isDown = async (node) => /cluster_state:fail/.test(await node.call('CLUSTER', 'INFO'))

  it('and the cluster serves nothing without it, calls wait for it, and say why at their deadline', async () => {
    const [dead, living] = scene.cluster.nodes
    const [name] = await scene.namesOn(living, 1)
    const locker = scene.newLocker({ settings: { commandTimeout: 1500 } })
    await (await locker.lock(name)).unlock()
    await dead.kill()
    await until(() => isDown(living), 'the cluster is down')
    const begin = performance.now()
    const error = await rejection(locker.lock(name))
    expect(performance.now() - begin).toBeGreaterThan(1000)
    expect(performance.now() - begin).toBeLessThan(3500)
    expect(error).toBeInstanceOf(lockFactory.RedisError)
    expect(error).toMatchObject({ code: 'ERR_REDIS_CLUSTERDOWN', cause: { code: 'CLUSTERDOWN' } })
    const patient = scene.newLocker({ settings: { commandTimeout: 20_000 } }).lock(name)
    await dead.restart()
    expect(await (await patient).unlock()).toBe(true)
  })

  it('and the cluster goes on without it, only its locks have to wait', async () => {
    const [dead, ...living] = scene.cluster.nodes
    for (const node of scene.cluster.nodes)
      await node.call('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
    const [name] = await scene.namesOn(dead, 1)
    const beside = (await Promise.all(living.map((node) => scene.namesOn(node, 2)))).flat()
    const locker = scene.newLocker({ settings: { commandTimeout: 2500 } })
    await (await locker.lock(name)).unlock()
    const load = new Load({ hold: 0 }).addAll(scene.newLockers(1), beside)
    await until(() => load.least > 5, 'it has begun')
    await dead.kill()
    const error = await rejection(locker.lock(name))
    expect(error).toBeInstanceOf(lockFactory.LockError)
    expect(error.code).toMatch(/^ERR_CONNECTION$|CLUSTERDOWN/)
    await until(async () => /,?fail\b/.test(await living[0].call('CLUSTER', 'NODES')), 'it counts as dead')
    expect(await rejection(locker.lock(name))).toBeInstanceOf(lockFactory.LockError)
    await load.stop()
    expect(load.faults).toEqual([])
    expect(load.longest).toBeLessThan(400)
    await dead.restart()
    await dead.call('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
    expect(await (await scene.newLocker().lock(name)).unlock()).toBe(true)
    await scene.cluster.ready()
    for (const node of scene.cluster.nodes)
      await node.call('CONFIG', 'SET', 'cluster-require-full-coverage', 'yes')
  })
})

describe('where nodes are not reachable as the cluster names them', () => {
  const nameOf = (index) => `node-${index}.invalid`
  const scene = clusterScene({
    replicas: 0,
    argsOf: (index) => [
      ...['--cluster-announce-hostname', nameOf(index)],
      ...['--cluster-preferred-endpoint-type', 'hostname'],
    ],
  })

  const natMap = () =>
    Object.fromEntries(
      scene.cluster.nodes.map(({ port }, index) => [`${nameOf(index)}:${port}`, { host, port }]),
    )
  const oneOnEach = async () => {
    const primaries = await scene.cluster.primaries()
    return Promise.all(primaries.map(async ({ node }) => (await scene.namesOn(node, 1))[0]))
  }
  const takesAll = async (locker) => {
    for (const name of await oneOnEach()) expect(await (await locker.lock(name)).unlock()).toBe(true)
  }

  it('natMap says where they are, also where the cluster redirects', async () => {
    const locker = scene.newLocker({ nodes: scene.cluster.addresses().slice(0, 1), natMap: natMap() })
    await takesAll(locker)
    const [name] = await oneOnEach()
    const from = await scene.nodeOf(name)
    const to = scene.cluster.nodes.find((node) => node !== from)
    const lock = await locker.lock(name, { renew: true })
    await scene.cluster.moveSlot(scene.slot(name), to)
    expect(await locker.isLocked(name)).toBe(true)
    expect(await lock.unlock()).toBe(true)
  })

  it('nothing is to be had there without it, and the error says what was tried', async () => {
    const locker = scene.newLocker({
      nodes: scene.cluster.addresses().slice(0, 1),
      settings: { commandTimeout: 1500 },
    })
    const away = (await scene.namesOn(scene.cluster.nodes[1], 1))[0]
    const error = await rejection(locker.lock(away))
    expect(error).toBeInstanceOf(ConnectionError)
  })

  it('a cluster that does not know what it is called is where it was asked', async () => {
    for (const node of scene.cluster.nodes)
      await node.call('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'unknown-endpoint')
    await takesAll(scene.newLocker({ nodes: scene.cluster.addresses().slice(0, 1) }))
    for (const node of scene.cluster.nodes)
      await node.call('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'hostname')
  })
})
