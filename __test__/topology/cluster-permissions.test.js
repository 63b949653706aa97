'use strict'

const fs = require('node:fs')
const path = require('node:path')
const lockFactory = require('../..')
const { clusterScene } = require('../support/cluster-scene')
const { startRedis } = require('../support/redis-server')
const { rejection, until } = require('../support/until')

// What a cluster does not let its user do.
describe('a user of a cluster', () => {
  const scene = clusterScene({ primaries: 3, replicas: 0 })
  const docs = fs.readFileSync(path.join(__dirname, '../../docs/protocol.md'), 'utf8')

  /** May do what the docs say, and then this. */
  const permit = async (...more) => {
    const [, , user, ...rules] = docs.match(/^ACL SETUSER locks .*$/m)[0].split(' ')
    const [, commands, channel] = docs.match(/^In a cluster `(.*)` is needed besides, .* is `(.*)`\.$/m)
    const inCluster = [...rules, 'resetchannels', channel, ...commands.split(' ')]
    const rights = inCluster.map((rule) => rule.replace('lock:', scene.prefix))
    for (const { server } of scene.cluster.nodes)
      await server.call('ACL', 'SETUSER', user, 'reset', ...rights, ...more)
  }
  const newLocker = (settings) => scene.newLocker({ username: 'locks', password: 'secret', settings })
  const oneOnEach = () =>
    Promise.all(scene.cluster.nodes.map(async (node) => (await scene.namesOn(node, 1))[0]))

  it('with the rights that the docs name takes locks, waits, lists and purges', async () => {
    await permit()
    const [holder, waiter] = [newLocker(), newLocker({ commandTimeout: 20_001 })]
    for (const name of await oneOnEach()) {
      const lock = await holder.lock(name)
      const call = waiter.lock(name, { timeout: 10_000 })
      await scene.waiting(name, 1)
      const begin = performance.now()
      expect(await lock.unlock()).toBe(true)
      await call
      // It was told. A poll would have come later.
      expect(performance.now() - begin).toBeLessThan(1000)
    }
    await until(async () => (await holder.query()).held.length === 3, 'all are told')
    await holder.purge()
    expect((await holder.query()).held).toEqual([])
  })

  it('is told which command of a script is forbidden before it is run, at every node', async () => {
    await permit('-zpopmin')
    const locker = newLocker()
    for (const name of await oneOnEach()) {
      const error = await rejection(locker.lock(name))
      expect(error.code).toBe('ERR_REDIS_NOPERM')
      expect(error.message).toContain('ZPOPMIN')
      expect(await scene.cluster.keys(scene.key(name))).toEqual([])
    }
  })

  it('who may not ask where the slots are is told so at once', async () => {
    await permit('-cluster|slots')
    const error = await rejection(newLocker().lock('resource'))
    expect(error.code).toBe('ERR_REDIS_NOPERM')
    expect(error.message).toMatch(/may not run CLUSTER/)
  })
})

describe('a server that is no cluster', () => {
  let server
  const opened = []

  const newLocker = (commandTimeout) => {
    const config = { nodes: [{ port: server.port }] }
    const locker = lockFactory({ driver: 'redis', config, settings: { prefix: 'lock:', commandTimeout } })
    opened.push(locker)
    return locker
  }

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((locker) => locker.close()))
    await server.stop()
  })

  it('is told from one that cannot be reached', async () => {
    server = await startRedis()
    const error = await rejection(newLocker().lock('resource'))
    expect(error).toBeInstanceOf(lockFactory.RedisError)
    expect(error.cause.message).toContain('cluster support disabled')
  })

  it('that may become one, as it has cluster support, is waited for', async () => {
    server = await startRedis({ args: ['--cluster-enabled', 'yes'] })
    const error = await rejection(newLocker(600).lock('resource'))
    expect(error.code).toBe('ERR_REDIS_CLUSTERDOWN')
    const call = newLocker(10_000).lock('resource')
    const slots = Array.from({ length: 16_384 }, (_, slot) => slot)
    await server.call('CLUSTER', 'ADDSLOTS', ...slots)
    expect(await (await call).unlock()).toBe(true)
  })
})
