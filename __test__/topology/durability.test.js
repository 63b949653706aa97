'use strict'

const lockFactory = require('../..')
const { hash, LockError, RedisError, ReplicationError, ResourceLockedError } = lockFactory
const { FaultyProxy } = require('../support/proxy')
const { SERVERS, freePort } = require('../support/redis-server')
const { Replicated } = require('../support/replicas')
const { rejection, until } = require('../support/until')

/** Longer than a test. */
const LONG = '1h'

const lockers = []

/** A locker on a server, or on a port. */
function lockerOn(server, settings = {}, config = {}) {
  const port = server.port ?? server
  const locker = lockFactory({
    driver: 'redis',
    config: { host: '127.0.0.1', port, ...config },
    settings: { prefix: 'durable:', ...settings },
  })
  lockers.push(locker)
  return locker
}

/** The connections of lockers, as the server lists them. */
async function connections(server) {
  const clients = await server.call('CLIENT', 'LIST')
  return clients.split('\n').filter((client) => client.includes(' name=lock-inc:'))
}

/** Whether the server holds up an answer until replicas have something. */
const isWaiting = async (server) =>
  (await connections(server)).some((client) => / flags=b .* cmd=wait /.test(client))

/** Cuts the connections that are there for that. The others speak RESP3. */
async function cutWaiting(server) {
  for (const client of await connections(server)) {
    if (client.includes('cmd=wait ')) await server.call('CLIENT', 'KILL', 'ID', client.match(/id=(\d+)/)[1])
  }
}

/** As after the start: nobody is connected, all replicas follow, and nothing is there. */
async function clear(set) {
  await Promise.all(lockers.splice(0).map((locker) => locker.close()))
  await until(async () => (await connections(set.primary)).length === 0)
  await set.primary.call('FLUSHALL')
  await set.join()
}

async function expectUnreplicated(promise, { wanted, confirmed, resourceId = 'a' }) {
  const error = await rejection(promise)
  expect(error).toBeInstanceOf(ReplicationError)
  expect(error).toBeInstanceOf(LockError)
  expect(error).toMatchObject({
    name: 'ReplicationError',
    code: 'ERR_REPLICATION',
    resourceId,
    details: { resourceId, wanted, confirmed },
  })
  return error
}

describe.each(SERVERS)('with replicas of %s', (name) => {
  let set
  beforeAll(async () => {
    set = await Replicated.start({ name })
  })
  afterAll(() => set.stop())
  afterEach(() => clear(set))

  const isOn = (server, resource) => server.call('EXISTS', `durable:${hash(resource)}`)

  it('a lock resolves when they have it', async () => {
    const locker = lockerOn(set.primary, { replicas: 2, replicaTimeout: LONG })
    const lock = await locker.lock('a')
    expect(await Promise.all(set.replicas.map((replica) => isOn(replica, 'a')))).toEqual([1, 1])
    expect(await lock.unlock()).toBe(true)
    const several = await locker.lock(['a', 'b'])
    expect(await Promise.all(set.replicas.map((replica) => isOn(replica, 'b')))).toEqual([1, 1])
    expect(await several.unlock()).toBe(true)
    expect(await locker.request('a', () => isOn(set.replicas[1], 'a'))).toBe(1)
    const stolen = await lockerOn(set.primary).lock('a')
    await locker.lock('a', { steal: true })
    expect(await isOn(set.replicas[0], 'a')).toBe(1)
    expect(stolen.held).toBe(false)
  })

  it('with too few, every way to lock rejects and says how many, and the lock is free', async () => {
    set.cutOff(0)
    const locker = lockerOn(set.primary, { replicas: 2, replicaTimeout: 1000 })
    const few = { wanted: 2, confirmed: 1 }
    const error = await expectUnreplicated(locker.lock('a'), few)
    expect(error.message).toBe(
      'The lock was given back: 1 of 2 replicas had it within 1000 ms; settings.replicaTimeout is the limit, ' +
        'and settings.replicas the number',
    )
    expect(error.stack).toContain('durability.test.js')
    expect(await locker.isLocked('a')).toBe(false)
    await expectUnreplicated(locker.tryLock('a'), few)
    await expectUnreplicated(locker.lock('a', { timeout: 60_000 }), few)
    let ran = false
    await expectUnreplicated(
      locker.request('a', () => {
        ran = true
      }),
      few,
    )
    const several = await expectUnreplicated(locker.lock(['a', 'b']), few)
    expect(several.resourceIds).toEqual(['a', 'b'])
    expect(ran).toBe(false)
    expect(await Promise.all(['a', 'b'].map((resource) => locker.isLocked(resource)))).toEqual([false, false])
    set.cutOff(1)
    await expectUnreplicated(locker.lock('a'), { wanted: 2, confirmed: 0 })
    // One that is content with less.
    await set.join()
    set.cutOff(1)
    expect((await lockerOn(set.primary, { replicas: 1, replicaTimeout: LONG }).lock('a')).held).toBe(true)
  })

  it('whoever is handed a lock has it confirmed as well, and else the next one gets it', async () => {
    const holder = lockerOn(set.primary)
    const isInQueue = (count) => until(async () => (await holder.inspect('a')).waiters.length === count)
    const waits = { timeout: 60_000 }
    const lock = await holder.lock('a')
    const first = lockerOn(set.primary, { replicas: 2, replicaTimeout: LONG }).lock('a', waits)
    await isInQueue(1)
    await lock.unlock()
    const handedOver = await first
    expect(await Promise.all(set.replicas.map((replica) => isOn(replica, 'a')))).toEqual([1, 1])
    const second = lockerOn(set.primary, { replicas: 1, replicaTimeout: 300 }).lock('a', waits)
    await isInQueue(1)
    const third = holder.lock('a', waits)
    await isInQueue(2)
    set.cutOff(0, 1)
    const [unreplicated, unlocked] = [
      expectUnreplicated(second, { wanted: 1, confirmed: 0 }),
      handedOver.unlock(),
    ]
    expect(await unlocked).toBe(true)
    await unreplicated
    expect((await third).held).toBe(true)
  })

  it('a lock that a caller has got is not granted once more after a failover', async () => {
    /** What has come of 20 locks on a primary that is lost then, and of the same ones on a replica. */
    const failover = async (settings) => {
      set.cutOff(0, 1)
      const lockAll = (locker, names) => Promise.allSettled(names.map((name) => locker.lock(name)))
      const names = Array.from({ length: 20 }, (_, index) => `${index}`)
      const before = await lockAll(lockerOn(set.primary, settings), names)
      await set.replicas[0].call('REPLICAOF', 'NO', 'ONE')
      const after = await lockAll(lockerOn(set.replicas[0]), names)
      const held = (results) => results.filter(({ value }) => value?.held).length
      const counts = { before: held(before), after: held(after) }
      await set.replicas[0].call('REPLICAOF', '127.0.0.1', set.wayTo(0))
      await clear(set)
      return { ...counts, errors: new Set(before.map(({ reason }) => reason?.name)) }
    }
    expect(await failover({})).toEqual({ before: 20, after: 20, errors: new Set([undefined]) })
    expect(await failover({ replicas: 1, replicaTimeout: 300 })).toEqual({
      before: 0,
      after: 20,
      errors: new Set(['ReplicationError']),
    })
  })

  it('whoever waits for replicas holds up nobody else', async () => {
    set.cutOff(0, 1)
    const stalled = lockerOn(set.primary, { replicas: 1, replicaTimeout: LONG, commandTimeout: '1h' })
    const other = lockerOn(set.primary, { replicas: 1, replicaTimeout: 150, commandTimeout: '1h' })
    const plain = lockerOn(set.primary, { commandTimeout: '1h' })
    let settled = false
    const locking = stalled.lock('a', { expire: '1h' }).finally(() => {
      settled = true
    })
    await until(() => isWaiting(set.primary))
    // All three have one connection beside that.
    await until(async () => (await connections(set.primary)).length === 2)
    for (const locker of [stalled, plain]) {
      expect(await locker.isLocked('a')).toBe(true)
      expect((await locker.inspect('a')).holders).toHaveLength(1)
      expect(await locker.tryLock('a')).toBeNull()
    }
    const lock = await plain.lock('b', { renew: true, expire: '1s' })
    expect(await lock.extend('2s')).toBe(true)
    expect(await lock.unlock()).toBe(true)
    // Not even those who wait, too.
    await expectUnreplicated(other.lock('b'), { wanted: 1, confirmed: 0, resourceId: 'b' })
    expect(settled).toBe(false)
    await set.join()
    expect((await locking).held).toBe(true)
  })

  it('many locks share a WAIT, and whoever wants none sends none', async () => {
    const locker = lockerOn(set.primary, { replicas: 2, replicaTimeout: LONG })
    await (await locker.lock('first')).unlock()
    await set.primary.call('CONFIG', 'RESETSTAT')
    const locks = await Promise.all(Array.from({ length: 100 }, (_, index) => locker.lock(`many ${index}`)))
    const waits = await set.primary.commandCount('wait')
    expect(waits).toBeGreaterThan(0)
    expect(waits).toBeLessThan(20)
    await Promise.all(locks.map((lock) => lock.unlock()))
    const plain = lockerOn(set.primary, { commandTimeout: 5000 })
    await (await plain.lock('plain')).unlock()
    expect(await set.primary.commandCount('wait')).toBe(waits)
    await locker.close()
    await until(async () => (await connections(set.primary)).length === 1)
  })

  it('those who share a lock have it confirmed, each for itself', async () => {
    const shared = { mode: 'shared', limit: 3 }
    const patient = lockerOn(set.primary, { replicas: 2, replicaTimeout: LONG })
    const locks = [await patient.lock('a', shared), await patient.lock('a', shared)]
    set.cutOff(0, 1)
    const locker = lockerOn(set.primary, { replicas: 2, replicaTimeout: 300 })
    await expectUnreplicated(locker.lock('a', shared), { wanted: 2, confirmed: 0 })
    expect((await locker.inspect('a')).holders).toHaveLength(2)
    expect(locks.every((lock) => lock.held)).toBe(true)
  })

  it('a connection that is lost is made again, with what is asked on it', async () => {
    const locker = lockerOn(set.primary, { replicas: 1, replicaTimeout: LONG })
    await (await locker.lock('first')).unlock()
    await cutWaiting(set.primary)
    expect((await locker.lock('a')).held).toBe(true)
    set.cutOff(0, 1)
    const waiting = lockerOn(set.primary, { replicas: 1, replicaTimeout: LONG }).lock('b')
    await until(() => isWaiting(set.primary))
    await cutWaiting(set.primary)
    await until(() => isWaiting(set.primary))
    await set.join()
    expect((await waiting).held).toBe(true)
    // All of them.
    await set.primary.call('CLIENT', 'KILL', 'TYPE', 'normal')
    expect((await locker.lock('c')).held).toBe(true)
  })

  it('a primary that becomes a replica meanwhile confirms nothing', async () => {
    set.cutOff(0, 1)
    const settings = { replicas: 1, replicaTimeout: 500, commandTimeout: 1000 }
    const locking = lockerOn(set.primary, settings).lock('a')
    await until(() => isWaiting(set.primary))
    // Of nobody, so that its data stay.
    await set.primary.call('REPLICAOF', '127.0.0.1', await freePort())
    try {
      const error = await expectUnreplicated(locking, { wanted: 1, confirmed: 0 })
      expect(error.cause.message).toMatch(/master -> replica|WAIT cannot be used with replica|READONLY/)
    } finally {
      await set.primary.call('REPLICAOF', 'NO', 'ONE')
    }
  })

  it('a user who may not run WAIT is told so, and the lock is free', async () => {
    await set.primary.call('ACL', 'SETUSER', 'app', 'on', '>pass', '~*', '&*', '+@all', '-wait')
    const credentials = { username: 'app', password: 'pass' }
    const locker = lockerOn(set.primary, { replicas: 1, replicaTimeout: LONG }, credentials)
    const error = await rejection(locker.lock('a'))
    expect(error).toBeInstanceOf(RedisError)
    expect(error).toMatchObject({ code: 'ERR_REDIS_NOPERM', message: expect.stringContaining('WAIT') })
    expect(await locker.isLocked('a')).toBe(false)
    await set.primary.call('ACL', 'SETUSER', 'app', '+wait')
    const database = lockerOn(set.primary, { replicas: 1, replicaTimeout: LONG }, { ...credentials, db: 3 })
    expect((await database.lock('a')).held).toBe(true)
  })
})

describe('a call that waits for replicas', () => {
  let set
  beforeAll(async () => {
    set = await Replicated.start({ count: 1 })
  })
  afterAll(() => set.stop())
  afterEach(() => clear(set))

  it('ends when its time is over, in the order of that', async () => {
    set.cutOff(0)
    const order = []
    const call = (label, settings, options) => {
      const locker = lockerOn(set.primary, { replicas: 1, ...settings })
      return rejection(locker.lock(label, options)).then((error) =>
        order.push([label, error.message.match(/(\d+) ms; (\S+)/)[0]]),
      )
    }
    await Promise.all([
      call('1s', { replicaTimeout: '1s' }),
      call('200 ms', { replicaTimeout: 200 }),
      call('600 ms', { replicaTimeout: LONG }, { timeout: 600 }),
      call('1.4 s', { replicaTimeout: LONG, commandTimeout: 1400 }),
    ])
    expect(order).toEqual([
      ['200 ms', '200 ms; settings.replicaTimeout'],
      ['600 ms', '600 ms; options.timeout'],
      ['1s', '1000 ms; settings.replicaTimeout'],
      ['1.4 s', '1400 ms; settings.commandTimeout'],
    ])
  })

  it('holds the lock meanwhile, renews it, and gives it back when it is cancelled', async () => {
    set.cutOff(0)
    const locker = lockerOn(set.primary, { replicas: 1, replicaTimeout: LONG })
    const controller = new AbortController()
    const locking = locker.lock('a', { renew: true, expire: 1, signal: controller.signal })
    await until(() => isWaiting(set.primary))
    await set.primary.call('CONFIG', 'RESETSTAT')
    await until(async () => (await set.primary.commandCount('evalsha')) > 3)
    expect(await rejection(lockerOn(set.primary).lock('a'))).toBeInstanceOf(ResourceLockedError)
    controller.abort()
    expect((await rejection(locking)).name).toBe('AbortError')
    await until(async () => !(await locker.isLocked('a')))
  })

  it('is not kept waiting by a replica that stands still, but told of it', async () => {
    const [replica] = set.replicas
    process.kill(replica.pid, 'SIGSTOP')
    try {
      const locker = lockerOn(set.primary, { replicas: 1, replicaTimeout: 200 })
      await expectUnreplicated(locker.lock('a'), { wanted: 1, confirmed: 0 })
      const patient = lockerOn(set.primary, { replicas: 1, replicaTimeout: LONG }).lock('a')
      await until(() => isWaiting(set.primary))
      process.kill(replica.pid, 'SIGCONT')
      expect((await patient).held).toBe(true)
    } finally {
      process.kill(replica.pid, 'SIGCONT')
    }
  })

  it('settles before the locker is closed', async () => {
    set.cutOff(0)
    const locker = lockerOn(set.primary, { replicas: 1, replicaTimeout: 400 })
    let error
    rejection(locker.lock('a')).then((reason) => {
      error = reason
    })
    await until(() => isWaiting(set.primary))
    await locker.close()
    // What has come of it is on its way through promises.
    await new Promise(setImmediate)
    expect(error).toBeInstanceOf(ReplicationError)
    expect(await lockerOn(set.primary).isLocked('a')).toBe(false)
    await until(async () => !(await isWaiting(set.primary)))
  })

  it('is not confirmed by a server that has not got the lock', async () => {
    // The connection leads to one server, and the one for WAIT to another.
    const other = await Replicated.start({ count: 1 })
    const proxy = await FaultyProxy.to(set.primary.port)
    try {
      const locker = lockerOn(proxy.port, { replicas: 1, replicaTimeout: LONG })
      await (await locker.lock('first')).unlock()
      await cutWaiting(set.primary)
      proxy.leadTo(other.primary.port)
      const error = await expectUnreplicated(locker.lock('a'), { wanted: 1, confirmed: 0 })
      expect(error.cause.message).toBe('the primary has lost the lock')
      expect(await locker.isLocked('a')).toBe(false)
    } finally {
      await proxy.close()
      await other.stop()
    }
  })
})
