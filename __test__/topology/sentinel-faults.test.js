'use strict'

const lockFactory = require('../..')
const { FakeSentinel } = require('../support/fake-sentinel')
const { freePort, startRedis } = require('../support/redis-server')
const { lockersByTest, lockersOn } = require('../support/sentinel')
const { rejection, until } = require('../support/until')

// Two servers, both of which say that they are primaries, a replica, and sentinels that say what the test wants.

const host = '127.0.0.1'
const scene = lockersByTest()
const fakes = []
let first
let second
let replica

beforeAll(async () => {
  ;[first, second] = await Promise.all([
    startRedis({ args: ['--repl-diskless-sync-delay', 0] }),
    startRedis(),
  ])
  replica = await startReplica()
})

/** A replica of the first server, which has all that is there. */
async function startReplica() {
  const replica = await startRedis({ args: ['--replicaof', host, first.port] })
  await until(async () => (await replica.call('INFO', 'replication')).includes('master_link_status:up'))
  return replica
}

afterAll(() => Promise.all([first, second, replica].map((server) => server.stop())))

afterEach(() => Promise.all(fakes.splice(0).map((fake) => fake.stop())))

/** Sentinels that name these primaries, each one. */
async function sentinels(...primaries) {
  const started = await Promise.all(
    primaries.map((how) => FakeSentinel.start(typeof how === 'object' && how ? how : { primary: how })),
  )
  fakes.push(...started)
  return started
}

const configOf = (sentinels, more) => ({
  name: 'mymaster',
  sentinels: sentinels.map(({ port }) => ({ host, port })),
  retry_max_delay: 50,
  ...more,
})
const hurried = { settings: { commandTimeout: 1500 } }
const connections = async (...servers) =>
  (await Promise.all(servers.map(lockersOn))).map(({ length }) => length)

/** The one connection of a locker that a server has, by its number. */
async function clientOn(server) {
  const list = await lockersOn(server)
  expect(list.length).toBe(1)
  return list[0].split(' ')[0]
}

/** Waits until each has answered so many more questions. */
async function askedAgain(sentinels, times) {
  const before = sentinels.map(({ asked }) => asked)
  await until(
    () => sentinels.every(({ asked }, index) => asked >= before[index] + times),
    'all are asked again',
  )
}

describe('a try to connect', () => {
  it.each([
    ['names a replica', () => replica.port],
    ['names what is dead', () => freePort()],
    ['is silent', () => ({ silent: true })],
    ['knows no such name', () => null],
    ['does not know HELLO', () => ({ primary: first.port, resp2: true })],
  ])('goes on to the others where one sentinel %s', async (_, how) => {
    const all = await sentinels(await how(), first.port)
    const locker = scene.newLocker(configOf(all))
    const start = performance.now()
    const lock = await locker.lock('resource')
    expect(performance.now() - start).toBeLessThan(1500)
    expect(await connections(first, second, replica)).toEqual([1, 0, 0])
    expect(await lock.unlock()).toBe(true)
  })

  it('goes by what most sentinels say', async () => {
    const all = await sentinels(second.port, first.port, first.port)
    await (await scene.newLocker(configOf(all)).lock('resource')).unlock()
    expect(await connections(first, second)).toEqual([1, 0])
  })

  it('finds in time where the primary is, though most are silent', async () => {
    const all = await sentinels({ silent: true }, { silent: true }, { silent: true }, first.port)
    const start = performance.now()
    await (await scene.newLocker(configOf(all)).lock('resource')).unlock()
    expect(performance.now() - start).toBeLessThan(1000)
  })

  it('says that the server is a replica, if none names another', async () => {
    const all = await sentinels(replica.port, replica.port)
    const error = await rejection(scene.newLocker(configOf(all, hurried)).lock('resource'))
    expect(error).toMatchObject({ name: 'ConnectionError', cause: { code: 'ERR_SENTINEL_REPLICA' } })
    const at = `${host}:${replica.port}`
    expect(error.message).toBe(
      `Redis 'mymaster' at ${at} (by Sentinel) could not be reached within 1500 ms (the sentinels' primary at ` +
        `${at} says that it is a replica); settings.commandTimeout is the limit`,
    )
    expect(await connections(replica)).toEqual([0])
  })

  it('says that over RESP2, too, which the primary may speak alone', async () => {
    const old = ['--rename-command', 'HELLO', '']
    const [oldPrimary, oldReplica] = [
      await startRedis({ args: old }),
      await startRedis({ args: [...old, '--replicaof', host, first.port] }),
    ]
    try {
      const [right] = await sentinels(oldPrimary.port)
      const lock = await scene.newLocker(configOf([right])).lock('resource')
      expect(await lock.unlock()).toBe(true)
      const [wrong] = await sentinels(oldReplica.port)
      const error = await rejection(scene.newLocker(configOf([wrong], hurried)).lock('resource'))
      expect(error.cause.code).toBe('ERR_SENTINEL_REPLICA')
    } finally {
      await Promise.all([oldPrimary.stop(), oldReplica.stop()])
    }
  })

  it('says where it led, if nobody is there', async () => {
    const port = await freePort()
    const all = await sentinels(port)
    const error = await rejection(scene.newLocker(configOf(all, hurried)).lock('resource'))
    expect(error.cause.code).toBe('ECONNREFUSED')
    expect(error.message).toMatch(
      new RegExp(
        `^Redis 'mymaster' at ${host}:${port} \\(by Sentinel\\) could not be reached within 1500 ms`,
      ),
    )
  })

  it('says what is wrong with each sentinel, if none can be reached', async () => {
    const [silent] = await sentinels({ silent: true })
    const dead = { port: await freePort() }
    const error = await rejection(scene.newLocker(configOf([dead, silent], hurried)).lock('resource'))
    expect(error).toMatchObject({ name: 'ConnectionError', cause: { code: 'ECONNREFUSED' } })
    expect(error.message).toMatch(
      new RegExp(
        `^Redis 'mymaster' \\(by Sentinel\\) could not be reached within 1500 ms \\(no sentinel of 2 could be ` +
          `reached: ${host}:${dead.port}: Connection refused.*; ${host}:${silent.port}: no answer within \\d+ ms\\)`,
      ),
    )
  })

  it('rejects calls at once where they are not to wait, with that as the cause', async () => {
    const config = configOf([{ port: await freePort() }], { enable_offline_queue: false })
    const locker = scene.newLocker(config)
    await until(async () => /no sentinel of 1/.test((await rejection(locker.lock('resource'))).message))
  })

  it('rejects calls at once where no sentinel knows the name', async () => {
    const all = await sentinels(null, null)
    const start = performance.now()
    const error = await rejection(scene.newLocker(configOf(all)).lock('resource'))
    expect(performance.now() - start).toBeLessThan(1000)
    expect(error).toMatchObject({
      name: 'RedisError',
      code: 'ERR_SENTINEL_NAME',
      message: "The sentinels know no 'mymaster': check config.name",
    })
  })

  it('says that a server is no sentinel', async () => {
    const error = await rejection(scene.newLocker(configOf([first])).lock('resource'))
    expect(error.message).toBe(`The server at ${host}:${first.port} is no sentinel: check config.sentinels`)
  })

  it('comes to another primary that is named while it is under way', async () => {
    process.kill(second.pid, 'SIGSTOP')
    try {
      const all = await sentinels(second.port)
      const locking = scene.newLocker(configOf(all)).lock('resource')
      await until(() => all[0].asked > 0, 'it was asked')
      const start = performance.now()
      all[0].switchTo(first.port)
      await (await locking).unlock()
      expect(performance.now() - start).toBeLessThan(1000)
    } finally {
      process.kill(second.pid, 'SIGCONT')
    }
  })
})

describe('a connection', () => {
  /** A locker that is connected to the first server. */
  const connected = async (all, more) => {
    const locker = scene.newLocker(configOf(all, more))
    await locker.isLocked('resource')
    expect(await connections(first, second)).toEqual([1, 0])
    await until(() => all.every(({ silent, connections }) => silent || connections > 0))
    return locker
  }

  it('is left when most sentinels name another primary, as soon as they tell', async () => {
    const all = await sentinels(first.port, first.port, first.port)
    const locker = await connected(all)
    const start = performance.now()
    all[0].switchTo(second.port)
    await askedAgain([all[0]], 1)
    expect(await connections(first, second)).toEqual([1, 0])
    all[1].switchTo(second.port)
    await until(async () => String(await connections(first, second)) === '0,1', 'it has moved')
    expect(performance.now() - start).toBeLessThan(1500)
    await (await locker.lock('resource')).unlock()
  })

  it('is left without their telling, too', async () => {
    const all = await sentinels(...Array(3).fill({ primary: first.port, resp2: true }))
    await connected(all)
    for (const one of all) one.primary = second.port
    await until(async () => String(await connections(first, second)) === '0,1', 'it has moved')
  })

  it('is not left because of one that lies, whatever it says', async () => {
    const [liar, ...honest] = await sentinels(first.port, first.port, first.port)
    const strangers = await sentinels(second.port, second.port, second.port)
    await connected([liar, ...honest])
    const before = await clientOn(first)
    liar.peers = strangers
    liar.replicas = [second.port]
    for (let times = 0; times < 50; times++) {
      const asked = liar.asked
      liar.select(second.port)
      liar.switchTo(times % 2 ? first.port : second.port)
      await until(() => liar.asked > asked, 'it is asked')
    }
    liar.primary = second.port
    await askedAgain([liar, ...honest], 1)
    expect(await clientOn(first)).toBe(before)
    expect(await connections(first, second)).toEqual([1, 0])
    expect(strangers.map(({ asked }) => asked)).toEqual([0, 0, 0])
  })

  it('is left for a replica that was selected, as soon as that is the primary by its own word', async () => {
    const standby = await startReplica()
    try {
      const how = { primary: first.port, replicas: [standby.port] }
      const all = await sentinels(how, how, how)
      const locker = await connected(all)
      const before = await clientOn(first)
      all[0].select(standby.port)
      await askedAgain(all, 1)
      expect(await clientOn(first)).toBe(before)
      await standby.call('REPLICAOF', 'NO', 'ONE')
      await until(async () => String(await connections(first, standby)) === '0,1', 'it has moved')
      // The sentinels name the old one still, which says that it is a primary, too.
      await askedAgain(all, 1)
      expect(await connections(first, standby)).toEqual([0, 1])
      await (await locker.lock('resource')).unlock()
    } finally {
      await standby.stop()
    }
  })

  it('to a primary that stood still grants nothing when another has taken its place meanwhile', async () => {
    const standby = await startReplica()
    try {
      const how = { primary: first.port, replicas: [standby.port] }
      const all = await sentinels(how, how, how)
      const locker = await connected(all)
      await (await locker.lock('resource')).unlock()
      process.kill(first.pid, 'SIGSTOP')
      const start = performance.now()
      const locking = locker.lock('resource', { expire: 30 })
      await until(() => performance.now() - start > 1100, 'it has stood still for long enough')
      await standby.call('REPLICAOF', 'NO', 'ONE')
      all[0].select(standby.port)
      process.kill(first.pid, 'SIGCONT')
      const lock = await locking
      expect(await connections(standby)).toEqual([1])
      const key = scene.prefix + lockFactory.hash('resource')
      expect(await standby.call('EXISTS', key)).toBe(1)
      expect(await lock.unlock()).toBe(true)
      expect(await standby.call('EXISTS', key)).toBe(0)
    } finally {
      process.kill(first.pid, 'SIGCONT')
      await standby.stop()
    }
  })

  it('is not left because of the only one that is still there', async () => {
    const all = await sentinels(first.port, first.port, first.port)
    await connected(all)
    await Promise.all(all.slice(1).map((fake) => fake.stop()))
    fakes.splice(fakes.indexOf(all[1]), 2)
    all[0].switchTo(second.port)
    await askedAgain([all[0]], 3)
    expect(await connections(first, second)).toEqual([1, 0])
  })

  it('is not left for what is no primary', async () => {
    for (const port of [replica.port, await freePort()]) {
      const all = await sentinels(first.port, first.port)
      const locker = await connected(all)
      const before = await clientOn(first)
      for (const one of all) one.switchTo(port)
      await askedAgain(all, 2)
      expect(await clientOn(first)).toBe(before)
      await locker.close()
    }
  })

  it('is not left because all sentinels are away', async () => {
    const all = await sentinels(first.port, first.port)
    const locker = await connected(all)
    const lock = await locker.lock('resource', { renew: true, expire: 1 })
    const before = await clientOn(first)
    await Promise.all(fakes.splice(0).map((fake) => fake.stop()))
    // Long enough for the sentinels to be asked twice, and for a few renewals.
    const end = performance.now() + 7000
    await until(() => performance.now() > end || lock.signal.aborted, 'some time has passed')
    expect(await clientOn(first)).toBe(before)
    expect(await lock.unlock()).toBe(true)
  })

  it('is left with a cause that says so', async () => {
    const all = await sentinels(first.port)
    const causes = []
    const retry_strategy = ({ error }) => {
      causes.push(error)
      return 10
    }
    await connected(all, { retry_strategy })
    all[0].switchTo(second.port)
    await until(async () => String(await connections(first, second)) === '0,1', 'it has moved')
    expect(causes.map(({ code, message }) => [code, message])).toEqual([
      [
        'ERR_SENTINEL_FAILOVER',
        `the sentinels have ${host}:${second.port} as the primary of 'mymaster' now, not ${host}:${first.port}`,
      ],
    ])
  })
})
