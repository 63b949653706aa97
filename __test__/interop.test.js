'use strict'

const path = require('node:path')
const { runNode } = require('./support/child')
const { startRedis } = require('./support/redis-server')

// A fleet in the middle of an upgrade: processes with lock-inc 1.2.0 and with this version on one resource.
describe('old and new processes together', () => {
  let server

  beforeAll(async () => {
    server = await startRedis()
  })

  afterAll(() => server.stop())

  /**
   * Takes the lock `rounds` times and, while it holds it, writes its own name into a key and reads it back: another
   * name in there is an overlap.
   */
  const contender = `
    const { oldLocker } = require(args.support + '/lock-inc-1.2.0')
    const redis = require('redis')
    const client = redis.createClient({ port: args.port })
    const ask = (command, ...list) => new Promise((resolve, reject) =>
      client.send_command(command, list, (error, reply) => (error ? reject(error) : resolve(reply))))
    const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
    const old = args.side === 'old' && oldLocker(args)
    const locker = args.side === 'new' &&
      lockFactory({ driver: 'redis', config: { port: args.port }, settings: { prefix: args.prefix } })

    async function take() {
      if (locker) {
        const lock = await locker.lock('shared', { retry: true, retryInterval: 2, maxRetryAttempts: 1e6 })
        return lock.unlock
      }
      while ((await old.lock('shared')) !== 1) await sleep(2)
      return () => old.unlock('shared')
    }

    async function main() {
      let overlaps = 0
      for (let round = 0; round < args.rounds; round++) {
        const unlock = await take()
        if ((await ask('GETSET', 'inside', args.name)) !== '') overlaps++
        await sleep(1)
        if ((await ask('GETSET', 'inside', '')) !== args.name) overlaps++
        await unlock()
        // Leaves the others a chance: neither side queues.
        await sleep(Math.random() * 8)
      }
      tell({ side: args.side, rounds: args.rounds, overlaps })
      client.quit()
      if (old) old.close()
    }
    main()
  `

  it('never overlap, and both get their turns', async () => {
    await server.call('SET', 'inside', '')
    const common = {
      port: server.port,
      prefix: 'fleet:',
      support: path.join(__dirname, 'support'),
      rounds: 40,
    }
    const processes = ['old', 'new', 'old', 'new'].map((side, index) =>
      runNode(contender, { ...common, side, name: `${side} ${index}` }),
    )
    const results = await Promise.all(processes.map(({ ended }) => ended))
    for (const { code, stderr } of results) expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(results.map(({ messages }) => messages[0])).toEqual(
      ['old', 'new', 'old', 'new'].map((side) => ({ side, rounds: 40, overlaps: 0 })),
    )
    expect(await server.keys('fleet:*')).toEqual(['fleet:fence'])
  })
})
