'use strict'

const crypto = require('node:crypto')
const lockFactory = require('../..')
const { SERVERS, startRedis } = require('../support/redis-server')
const { until } = require('../support/until')

/** What a replica's clients hear of what its primary publishes has been counted by nobody. */
describe.each(SERVERS)('a grant of %s', (name) => {
  const opened = []
  let [first, second] = []
  let prefix

  beforeEach(async () => {
    prefix = `${crypto.randomUUID()}:`
    ;[first, second] = await Promise.all([startRedis({ name }), startRedis({ name })])
  })

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((locker) => locker.close()))
    await Promise.all([first.stop(), second.stop()])
  })

  const newLocker = ({ port }) => {
    const locker = lockFactory({
      driver: 'redis',
      config: { port },
      settings: { prefix, commandTimeout: 1000 },
    })
    opened.push(locker)
    return locker
  }

  const follow = async (replica, { port }) => {
    await replica.call('REPLICAOF', '127.0.0.1', port)
    await until(
      async () => (await replica.call('INFO', 'replication')).includes('link_status:up'),
      'it follows',
    )
  }

  const waiting = (locker, count) =>
    until(async () => (await locker.inspect('resource'))?.waiters.length === count, `${count} wait`)

  it('goes to nobody whose connection is to a replica, though what is published there reaches it', async () => {
    await follow(second, first)
    const [holder, away] = [newLocker(first), newLocker(first)]
    await holder.lock('resource', { expire: 600 })
    const granted = []
    const lock = (locker, who) =>
      locker.lock('resource', { timeout: 60_000, expire: 600 }).then((lock) => {
        granted.push(who)
        return lock
      })
    const waits = lock(away, 'away').catch(({ code }) => code)
    await waiting(holder, 1)
    const heard = []
    const [waiter] = (await holder.inspect('resource')).waiters
    const channel = `${prefix}client:${waiter.clientId}`
    const listener = await first.client()
    listener.on('message', (_channel, message) => heard.push(message))
    await new Promise((resolve) => listener.subscribe(channel, resolve))

    await until(
      async () => (await second.call('ZCARD', `${prefix}${lockFactory.hash('resource')}:queue`)) === 1,
      'it has all',
    )
    await second.call('REPLICAOF', 'NO', 'ONE')
    await follow(first, second)
    const next = newLocker(second)
    const here = lock(next, 'here')
    await waiting(next, 2)
    expect(await next.forceUnlock('resource')).toBe(true)
    expect(await (await here).unlock()).toBe(true)
    // What comes behind the grants has come.
    await second.call('PUBLISH', channel, 'the end')
    await until(() => heard.includes('the end'), 'it is heard')
    expect(heard).toEqual(['the end'])
    expect(granted).toEqual(['here'])
    await away.close()
    expect(await waits).toBe('ERR_CLOSED')
  })
})
