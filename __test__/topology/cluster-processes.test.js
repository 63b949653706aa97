'use strict'

const { runNode } = require('../support/child')
const { clusterScene } = require('../support/cluster-scene')
const { startRedis } = require('../support/redis-server')
const { until } = require('../support/until')

// Processes of their own write to a store under a lock, with its token, while the cluster changes under them.
describe('what processes write under locks of a cluster', () => {
  const scene = clusterScene({ nodeTimeout: 1500 })
  let store

  beforeAll(async () => {
    store = await startRedis()
  })

  afterAll(() => store.stop())

  /**
   * Takes locks over and over. When it comes in it writes its token and its own number, unless a greater token was there; when
   * it goes out it looks whether both are still what it wrote.
   */
  const writer = `
    const client = require('redis').createClient({ port: args.port })
    const ask = (command, ...list) => new Promise((resolve, reject) =>
      client.send_command(command, list, (error, reply) => (error ? reject(error) : resolve(reply))))
    const write = \`
      local token = tonumber(redis.call('HGET', KEYS[1], 'token') or 0)
      if tonumber(ARGV[1]) <= token then return 'refused' end
      redis.call('HSET', KEYS[1], 'token', ARGV[1], 'writer', ARGV[2])
      redis.call('HINCRBY', KEYS[1], 'count', 1)
      return 'written'\`
    const locker = lockFactory(args.spec)
    let ends = false
    process.stdin.once('data', () => { ends = true })

    async function work(name) {
      const lock = await locker.lock(name, { timeout: Infinity, renew: true, expire: 5 })
      const token = String(lock.token)
      if ((await ask('EVAL', write, 1, name, token, args.writer)) !== 'written' && lock.held) tell({ name, fault: 'refused' })
      await new Promise((resolve) => setTimeout(resolve, 2))
      const [last] = await ask('HMGET', name, 'token')
      if (last !== token && lock.held) tell({ name, fault: 'two are inside', last, token })
      if (!(await lock.unlock()) && lock.held) tell({ name, fault: 'lost unnoticed' })
    }

    async function main() {
      const loops = args.names.map(async (name) => {
        while (!ends) {
          try { await work(name) } catch ({ code, message }) { tell({ name, fault: message, code }) }
        }
      })
      await Promise.all(loops)
      await locker.close()
      client.quit()
      tell('ended')
    }
    main()
  `

  /** What happens to a primary. */
  const changes = {
    async 'a slot moves away from'({ node }, slot) {
      const to = (await scene.cluster.primaries())
        .map((primary) => primary.node)
        .find((other) => other !== node)
      await scene.cluster.moveSlot(slot, to)
    },
    async 'a replica takes over from'({ replica }) {
      await scene.cluster.failOver(replica)
    },
    async 'nothing is left of'({ node, replica }) {
      await node.kill()
      await until(() => replica.isPrimary(), 'its replica takes over')
    },
    async 'nothing is heard of'({ node, replica }) {
      await node.freeze()
      await until(() => replica.isPrimary(), 'its replica takes over')
      node.thaw()
    },
  }

  it.each(Object.keys(changes))(
    'is never written by two at once, and goes on, while %s a primary',
    async (change) => {
      await store.call('FLUSHALL')
      const toLose = await scene.cluster.primaryToLose()
      const names = await scene.namesOn(toLose.node, 2)
      for (const { node } of await scene.cluster.primaries())
        names.push(...(await scene.namesOn(node, 3)).slice(2))
      const processes = [1, 2, 3].map((number) =>
        runNode(writer, { spec: scene.spec(), port: store.port, names, writer: `${number}` }),
      )
      const counts = async () =>
        Promise.all(names.map(async (name) => Number(await store.call('HGET', name, 'count'))))
      const goesOn = async () => {
        const before = await counts()
        await until(
          async () => (await counts()).every((count, index) => count > before[index] + 20),
          'it goes on',
        )
      }
      await goesOn()
      await changes[change](toLose, scene.slot(names[0]))
      await goesOn()
      await scene.cluster.heal()
      await goesOn()
      for (const { child } of processes) child.stdin.end('end')
      for (const { messages, stderr, code } of await Promise.all(processes.map(({ ended }) => ended))) {
        expect({ messages, stderr, code }).toEqual({ messages: ['ended'], stderr: '', code: 0 })
      }
    },
  )
})
