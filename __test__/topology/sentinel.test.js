'use strict'

const { SERVERS, freePort } = require('../support/redis-server')
const { SentinelGroup, lockersByTest, lockersOn } = require('../support/sentinel')
const { until } = require('../support/until')

const host = '127.0.0.1'

describe.each(SERVERS)('the primary of a group of %s', (name) => {
  const scene = lockersByTest()
  let group

  beforeAll(async () => {
    group = await SentinelGroup.start({ name })
  })

  afterAll(() => group.stop())

  it('is found by its sentinels', async () => {
    const locker = scene.newLocker(group.config())
    const lock = await locker.lock('resource')
    expect(await locker.isLocked('resource')).toBe(true)
    const primary = await group.primary()
    expect(primary).toBe(group.servers[0])
    expect(await primary.keys(`${scene.prefix}*`)).not.toEqual([])
    expect((await lockersOn(primary)).length).toBe(1)
    for (const replica of group.servers.slice(1)) expect(await lockersOn(replica)).toEqual([])
    expect(await lock.unlock()).toBe(true)
  })

  it('is found by the one sentinel of a list that is alive, without much ado', async () => {
    const dead = [{ host, port: await freePort() }, { host }, { host, port: await freePort() }]
    dead[1].port = await freePort()
    const config = group.config()
    const locker = scene.newLocker({ ...config, sentinels: [...dead, config.sentinels[2]] })
    const start = performance.now()
    const lock = await locker.lock('resource')
    expect(performance.now() - start).toBeLessThan(1000)
    expect(await lock.unlock()).toBe(true)
  })

  it('has further sentinels, of which a link learns, and which it leaves when it is closed', async () => {
    const subscribers = () => Promise.all(group.sentinels.map((sentinel) => sentinel.subscribers()))
    await until(async () => String(await subscribers()) === '0,0,0', 'there are none')
    const config = group.config(group.sentinels.slice(1, 2))
    // Both have one link.
    const lockers = [scene.newLocker(config), scene.newLocker(config)]
    await Promise.all(lockers.map((locker) => locker.isLocked('resource')))
    await until(async () => String(await subscribers()) === '1,1,1', 'the link observes all of them')
    await Promise.all(lockers.map((locker) => locker.close()))
    await until(async () => String(await subscribers()) === '0,0,0', 'it has left them')
  })
})
