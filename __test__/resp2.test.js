'use strict'

const lockFactory = require('..')
const { startRedis } = require('./support/redis-server')
const { holding } = require('./support/holding')
const { waiting } = require('./support/waiting')
const { FaultyProxy } = require('./support/proxy')
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

  // They come on another connection than answers, so they may be older than these.
  it.each([
    ['has ended', 3, () => {}],
    ['was taken away', 60, (locker) => locker.forceUnlock('resource')],
  ])('keeps a lock when news come late of a grant that %s before', async (_, expire, end) => {
    const proxy = await FaultyProxy.to(server.port)
    const { driver, config, settings } = specOf(scene.prefix)
    const locker = lockFactory({ driver, config: { ...config, port: proxy.port }, settings })
    const other = scene.newLocker()
    const first = await other.lock('resource')
    const locking = locker.lock('resource', { timeout: Number.POSITIVE_INFINITY, expire })
    await scene.waiting('resource', 1)
    proxy.holdSubscribed()
    await first.unlock()
    const [{ token }] = (await other.inspect('resource')).holders
    await end(other)
    // By the answer to a poll.
    const lock = await locking
    expect(lock.token).toBeGreaterThan(token)
    expect(proxy.heldReplies()).toContain(` ${token} `)
    proxy.releaseReplies()
    // What it has to say of that has been said by then.
    await locker.isLocked('resource')
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(lock.held).toBe(true)
    expect((await other.inspect('resource')).holders[0].token).toBe(lock.token)
    expect(await lock.unlock()).toBe(true)
    await locker.close()
    await proxy.close()
  })

  it('has none of them left when it is closed', async () => {
    const closing = scene.newLocker()
    await closing.lock('resource')
    const before = (await server.call('CLIENT', 'LIST')).split('\n').length
    await closing.close()
    await until(async () => (await server.call('CLIENT', 'LIST')).split('\n').length === before - 2)
  })
})
