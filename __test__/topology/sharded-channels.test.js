'use strict'

const { clusterScene } = require('../support/cluster-scene')
const { SERVERS } = require('../support/redis-server')
const { until } = require('../support/until')

const timeout = Number.POSITIVE_INFINITY

/** What nodes tell each other of messages is work for all of them: a hand-over need not cost it. */
describe.each(SERVERS)('a lock on a cluster of %s that is waited for again and again', (name) => {
  const scene = clusterScene({ name, replicas: 0 })
  const { newLockers, nodeOf, namesInSlot, slot } = scene
  const hasShardedChannels = name !== 'redis-6.2'

  /** How often a node has run a command, however it came to it. */
  const callsOf = async (server, command) => {
    const found = (await server.call('INFO', 'commandstats')).match(`cmdstat_${command}:calls=(\\d+)`)
    return Number(found?.[1] ?? 0)
  }

  const published = async (server) => [await callsOf(server, 'publish'), await callsOf(server, 'spublish')]

  /** Two lockers take it by turns, so often. How often what was published. */
  const takeByTurns = async (resource, lockers, turns) => {
    const server = await nodeOf(resource)
    const before = await published(server)
    await Promise.all(
      lockers.map(async (locker) => {
        for (let turn = 0; turn < turns; turn++) {
          const lock = await locker.lock(resource, { timeout })
          // The others come to wait.
          await until(
            async () => (await locker.inspect(resource)).waiters.length > 0 || turn === turns - 1,
            'one waits',
          )
          await lock.unlock()
        }
      }),
    )
    const after = await published(server)
    return after.map((count, index) => count - before[index])
  }

  const turns = 20

  it('is handed over by a message that no other node hears, from Redis 7 on', async () => {
    const [resource] = namesInSlot(slot('by turns'), 1)
    const lockers = newLockers(2)
    if (hasShardedChannels) {
      // A locker listens so when it comes again within a second.
      let [plain, sharded] = []
      await until(async () => {
        ;[plain, sharded] = await takeByTurns(resource, lockers, turns)
        return plain === 0
      }, 'both listen so')
      expect(sharded).toBeGreaterThanOrEqual(turns)
    } else {
      const [plain, sharded] = await takeByTurns(resource, lockers, turns)
      expect(plain).toBeGreaterThanOrEqual(turns)
      expect(sharded).toBe(0)
    }
  })

  it('is handed over as well while its slot moves, and from where it is then', async () => {
    const [resource] = namesInSlot(slot('it moves'), 1)
    const lockers = newLockers(2)
    await takeByTurns(resource, lockers, turns)
    const from = await nodeOf(resource)
    const to = (await scene.cluster.primaries()).map(({ node }) => node).find((node) => node !== from)
    const [holder, waiter] = lockers
    const lock = await holder.lock(resource, { renew: true })
    const waits = waiter.lock(resource, { timeout })
    await scene.waiting(resource, 1)
    await scene.cluster.moveSlot(slot(resource), to)
    await lock.unlock()
    await (await waits).unlock()
    const [plain, sharded] = await takeByTurns(resource, lockers, turns)
    expect((await nodeOf(resource)) === to).toBe(true)
    expect(plain + sharded).toBeGreaterThanOrEqual(turns)
  })
})
