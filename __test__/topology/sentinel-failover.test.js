'use strict'

const lockFactory = require('../..')
const { SERVERS } = require('../support/redis-server')
const { GROUP, SentinelGroup, lockersByTest, lockersOn } = require('../support/sentinel')
const { rejection, until } = require('../support/until')

/** From the loss of a primary until locks can be taken from the next one: sentinels take one second to find that it is down. */
const FAILOVER = 10_000

const scene = lockersByTest()
let group
let primary

async function start(name) {
  group = await SentinelGroup.start({ name })
  primary = await group.primary()
}

afterEach(() => group.stop())

/** Waits until so many calls wait for the resource. */
async function waiting(locker, resource, count) {
  const number = async () => (await locker.inspect(resource))?.waiters.length ?? 0
  await until(async () => (await number()) === count, `${count} wait for ${resource}`)
}

/** How often scripts were called on a server. */
async function scriptCalls(server) {
  const counts = await Promise.all(['eval', 'evalsha'].map((command) => server.commandCount(command)))
  return counts[0] + counts[1]
}

describe.each(SERVERS)('a failover of %s', (name) => {
  beforeEach(() => start(name))

  it('after which a renewed lock is still held, and whoever waits gets it once', async () => {
    const holder = scene.newLocker(group.config())
    // On a connection of its own.
    const waiter = scene.newLocker({ ...group.config(), retry_max_delay: 1999 })
    const lock = await holder.lock('resource', { renew: true, expire: 30 })
    const granted = []
    const waits = waiter.lock('resource', { timeout: 60_000, expire: 30 }).then((lock) => granted.push(lock))
    await waiting(holder, 'resource', 1)
    await group.replicated(primary)

    const start = performance.now()
    await primary.kill()
    const other = await holder.lock('other')
    expect(performance.now() - start).toBeLessThan(FAILOVER)
    expect(await group.failedOver(primary)).not.toBe(primary)
    expect(other.token).toBeGreaterThan(lock.token)

    expect(lock.signal.aborted).toBe(false)
    expect(await lock.extend(30)).toBe(true)
    await waiting(holder, 'resource', 1)
    expect(granted).toEqual([])
    expect(await lock.unlock()).toBe(true)
    await waits
    expect(granted[0].token).toBeGreaterThan(other.token)
    const { holders, waiters } = await holder.inspect('resource')
    expect([holders.length, waiters]).toEqual([1, []])
    expect(await granted[0].unlock()).toBe(true)
    expect(await holder.isLocked('resource')).toBe(false)
  })
})

describe('a primary that is killed with what no replica had', () => {
  beforeEach(() => start('redis'))

  let replicas

  /** From now on the replicas hear nothing. */
  const pauseReplicas = async () => {
    replicas = group.servers.filter((server) => server !== primary)
    for (const replica of replicas) process.kill(replica.pid, 'SIGSTOP')
    // What the kernel has for them would still reach them.
    await primary.call('CLIENT', 'KILL', 'TYPE', 'replica')
  }

  const killPrimary = async () => {
    await primary.kill()
    for (const replica of replicas) process.kill(replica.pid, 'SIGCONT')
  }

  it('takes the lock with it, of which its holder is told, and the next one gets a greater token', async () => {
    const locker = scene.newLocker(group.config())
    await (await locker.lock('replicated')).unlock()
    await group.replicated(primary)
    await pauseReplicas()
    const lock = await locker.lock('resource', { renew: true, expire: 30 })
    await killPrimary()
    await until(() => lock.signal.aborted, 'it is lost')
    expect(lock.signal.reason).toMatchObject({ code: 'ERR_LOCK_LOST', reason: 'purged' })
    const next = await locker.lock('resource')
    expect(next.token).toBeGreaterThan(lock.token)
    expect(await lock.unlock()).toBe(false)
    expect(await next.unlock()).toBe(true)
  })

  it('takes no lock with it that replicas had to confirm: nobody had it yet', async () => {
    const settings = { replicas: 1, replicaTimeout: 30_000, commandTimeout: 30_000 }
    const locker = scene.newLocker({ ...group.config(), settings })
    await (await locker.lock('replicated')).unlock()
    await pauseReplicas()
    const settled = []
    const resources = Array.from({ length: 20 }, (_, index) => `resource ${index}`)
    const calls = resources.map((resource) => locker.lock(resource).finally(() => settled.push(resource)))
    const outcomes = Promise.allSettled(calls)
    const key = (resource) => scene.prefix + lockFactory.hash(resource)
    const taken = async () => await primary.call('EXISTS', ...resources.map(key))
    await until(async () => (await taken()) === resources.length, 'the primary has granted them')
    expect(settled).toEqual([])
    await killPrimary()

    const other = scene.newLocker(group.config())
    for (const { status, value: lock, reason } of await outcomes) {
      if (status === 'rejected') expect(reason.code).toBe('ERR_REPLICATION')
      else {
        expect((await rejection(other.lock(lock.resourceId))).code).toBe('ERR_RESOURCE_LOCKED')
        expect(await lock.unlock()).toBe(true)
      }
    }
    const more = await locker.lock('one more')
    expect(await more.unlock()).toBe(true)
  })
})

describe('a primary that is paused', () => {
  beforeEach(() => start('redis'))

  it('is left, and not written to again when it comes back', async () => {
    const locker = scene.newLocker(group.config())
    const lock = await locker.lock('resource', { renew: true, expire: 30 })
    await group.replicated(primary)
    process.kill(primary.pid, 'SIGSTOP')
    const start = performance.now()
    const other = await locker.lock('other')
    expect(performance.now() - start).toBeLessThan(FAILOVER)
    await other.unlock()

    process.kill(primary.pid, 'SIGCONT')
    // What had reached it before is carried out.
    await until(async () => (await lockersOn(primary)).length === 0, 'it has no connection of a locker')
    const before = await scriptCalls(primary)
    const next = await group.failedOver(primary)
    const beforeNext = await scriptCalls(next)
    for (let count = 0; count < 200; count++) await (await locker.lock(`resource ${count}`)).unlock()
    expect((await scriptCalls(next)) - beforeNext).toBeGreaterThanOrEqual(200)
    expect(await scriptCalls(primary)).toBe(before)
    expect(await lockersOn(primary)).toEqual([])
    expect(await lock.unlock()).toBe(true)
  })

  it('keeps no new locker waiting, once there is another one', async () => {
    process.kill(primary.pid, 'SIGSTOP')
    const start = performance.now()
    const lock = await scene.newLocker(group.config()).lock('resource')
    expect(performance.now() - start).toBeLessThan(FAILOVER / 2)
    process.kill(primary.pid, 'SIGCONT')
    expect(await lock.unlock()).toBe(true)
  })
})

describe('a failover that was asked for', () => {
  beforeEach(() => start('redis'))

  it('grants nobody twice, and never two at once', async () => {
    const lockers = Array.from({ length: 4 }, () => scene.newLocker(group.config()))
    const tokens = []
    let inside = 0
    let most = 0
    const enter = async (locker) => {
      const lock = await locker.lock('resource', { timeout: 60_000, expire: 2, renew: true })
      tokens.push(lock.token)
      most = Math.max(most, ++inside)
      await new Promise((resolve) => setTimeout(resolve, 50))
      inside--
      await lock.unlock()
    }
    const entered = Array.from({ length: 40 }, (_, index) => enter(lockers[index % lockers.length]))
    await until(() => tokens.length >= 5, 'some had the lock')
    await group.replicated(primary)
    await group.sentinels[0].call('SENTINEL', 'FAILOVER', GROUP)
    const others = group.servers.filter((server) => server !== primary)
    // Sentinels end the connections of all clients of what they promote, also that of the test.
    const unlessEnded = (error) => (error.code === 'UNCERTAIN_STATE' ? [] : Promise.reject(error))
    const moved = async () => {
      for (const server of others) {
        if ((await lockersOn(server).catch(unlessEnded)).length > 0) return server
      }
    }
    const next = await until(moved, 'the lockers have moved')
    // As soon as that takes writes: all that the old one does from then on is forgotten.
    const ports = await Promise.all(group.sentinels.map((sentinel) => sentinel.primaryPort()))
    expect(ports).toContain(primary.port)
    expect(tokens.length).toBeLessThan(40)
    expect(await group.failedOver(primary)).toBe(next)
    await Promise.all(entered)
    expect(most).toBe(1)
    expect(new Set(tokens).size).toBe(40)
    expect(tokens.toSorted((a, b) => a - b)).toEqual(tokens)
    // What the old primary had carried out when the new one was one already is forgotten: the leases end.
    await until(async () => !(await lockers[0].isLocked('resource')), 'nothing is left')
    expect(await lockersOn(primary)).toEqual([])
  })
})
