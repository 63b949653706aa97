'use strict'

const { startRedis } = require('./support/redis-server')
const { holding } = require('./support/holding')
const { waiting } = require('./support/waiting')
const { lockerScene } = require('./support/scene')
const { until } = require('./support/until')

// Where there is no RESP3, as behind some proxies, the news come over a second connection.
describe('a locker on a server that does not know HELLO', () => {
  let server

  beforeAll(async () => {
    server = await startRedis({ args: ['--rename-command', 'HELLO', ''] })
  })

  afterAll(() => server.stop())

  const specOf = (prefix) => ({ driver: 'redis', config: { port: server.port }, settings: { prefix } })
  const scene = lockerScene(specOf)
  holding(specOf)
  waiting(specOf)

  it('has two connections, and makes both anew when one of them is lost', async () => {
    const locker = scene.newLocker()
    const lock = await scene.newLocker().lock('resource')
    const timeout = Number.POSITIVE_INFINITY
    const calls = [locker.lock('resource', { timeout }), locker.lock('resource', { timeout })]
    await scene.waiting('resource', 2)
    const { clientId, host, pid } = (await locker.inspect('resource')).waiters[0]
    const listens = async () =>
      (await server.call('PUBSUB', 'NUMSUB', `${scene.prefix}client:${clientId}`))[1]
    const named = async () => {
      const found = (await server.call('CLIENT', 'LIST')).matchAll(/id=(\d+) .* name=(\S+) /g)
      return [...found].filter(([, , name]) => name === `lock-inc:${host}:${pid}`).map(([, id]) => id)
    }
    for (const type of ['pubsub', 'normal']) {
      const before = await named()
      await server.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')
      await until(async () => {
        const now = await named()
        return now.length === 2 && !now.some((id) => before.includes(id))
      }, 'there are two other connections')
      await until(async () => (await listens()) === 1, 'and one for the news')
    }
    await lock.unlock()
    for (const call of calls) await (await call).unlock()
  })

  it('has none of them left when it is closed', async () => {
    const closing = scene.newLocker()
    await closing.lock('resource')
    const before = (await server.call('CLIENT', 'LIST')).split('\n').length
    await closing.close()
    await until(async () => (await server.call('CLIENT', 'LIST')).split('\n').length === before - 2)
  })
})
