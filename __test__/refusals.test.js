'use strict'

const fs = require('node:fs')
const path = require('node:path')
const lockFactory = require('..')
const { FaultyProxy } = require('./support/proxy')
const { SERVERS, startRedis } = require('./support/redis-server')
const { introduced } = require('./support/scene')
const { allSources } = require('./support/scripts')
const { rejection, until } = require('./support/until')

const protocol = path.join(__dirname, '../docs/protocol.md')
const documentedRule = () => fs.readFileSync(protocol, 'utf8').match(/^ACL SETUSER locks .*$/m)[0]

// A server that answers with an error: the error names the cause and says what to do, on old servers and new ones.
describe.each(SERVERS)('refusals of %s', (name) => {
  let server
  let opened

  const newLocker = (config = {}, commandTimeout = 10_000) => {
    const locker = lockFactory({
      driver: 'redis',
      config: { port: server.port, ...config },
      settings: { prefix: 'refused:', commandTimeout },
    })
    opened.push(locker)
    return locker
  }
  const key = `refused:${lockFactory.hash('resource')}`

  beforeAll(async () => {
    server = await startRedis({ name })
  })

  afterAll(() => server.stop())

  beforeEach(() => {
    opened = []
    return server.call('FLUSHALL')
  })

  afterEach(() => Promise.all(opened.map((locker) => locker.close())))

  const expectRefusal = (error, code, advice) => {
    expect(error).toBeInstanceOf(lockFactory.RedisError)
    expect(error).toMatchObject({ name: 'RedisError', code, resourceId: 'resource' })
    expect(error.message).toContain(advice)
    expect(error.cause.message).not.toBe('')
  }

  it('WRONGTYPE: something else is at the key of the lock, and stays as it was', async () => {
    await server.call('RPUSH', key, 'x')
    expectRefusal(await rejection(newLocker().lock('resource')), 'ERR_REDIS_WRONGTYPE', 'settings.prefix')
    await server.call('DEL', key)
    await server.call('SET', key, 'text')
    expectRefusal(await rejection(newLocker().lock('resource')), 'ERR_REDIS_WRONGTYPE', 'settings.prefix')
    expect(await server.call('GET', key)).toBe('text')
    expect(await server.keys('*')).toEqual([key])
  })

  it('WRONGTYPE: something else is beside the lock; nothing is half done, and what is held is kept', async () => {
    const [queue, clients] = [`${key}:queue`, `${key}:clients`]
    const locker = newLocker()
    const lock = await locker.lock('resource', { expire: 60 })
    await introduced(locker, 'resource')
    for (const foreign of [queue, clients]) {
      await server.call('DEL', foreign)
      await server.call('RPUSH', foreign, 'x')
      const before = await server.call('GET', key)
      const error = await rejection(locker.lock('resource', { timeout: 1000 }))
      expectRefusal(error, 'ERR_REDIS_WRONGTYPE', 'settings.prefix')
      expect(await server.call('GET', key)).toBe(before)
      expect(await server.keys(`${key}:*`)).toEqual([...new Set([clients, foreign])].sort())
      expect(await server.call('LRANGE', foreign, '0', '-1')).toEqual(['x'])
      // What is relied on is what the server has.
      expect(await lock.extend(30)).toBe(true)
      const kept = await server.call('PTTL', key)
      expect(lock.remaining()).toBeLessThan(kept)
      await server.call('DEL', foreign)
    }
    await lock.extend(1.5)
    const waiting = rejection(newLocker().lock('resource', { timeout: 20_000 }))
    await until(async () => (await locker.inspect('resource')).waiters.length === 1)
    await server.call('DEL', queue, clients)
    await server.call('RPUSH', clients, 'x')
    // The poll at the end of the lease would make the queue anew, for ever.
    expectRefusal(await waiting, 'ERR_REDIS_WRONGTYPE', 'settings.prefix')
    expect(await server.call('EXISTS', queue)).toBe(0)
  })

  it.each([
    ['a list', "redis.call('RPUSH', KEYS[1], 'x')"],
    ['bytes that are no text', "redis.call('SET', KEYS[1], '\\255\\254')"],
  ])('a forced unlock removes what is at the key of the lock, be it %s', async (_what, write) => {
    await server.call('EVAL', write, 1, key)
    expect(await newLocker().forceUnlock('resource')).toBe(true)
    expect(await server.call('EXISTS', key)).toBe(0)
  })

  it('WRONGTYPE: something else is at the register of tokens, and stays; what is held can be unlocked', async () => {
    const register = 'refused:fence'
    for (const [write, read] of [
      [
        ['RPUSH', register, 'x'],
        ['LRANGE', register, '0', '-1'],
      ],
      [
        ['SET', register, 'text'],
        ['GET', register],
      ],
    ]) {
      const locker = newLocker()
      const lock = await locker.lock('held before')
      const waiting = locker.lock('held before', { timeout: 1000 })
      await until(async () => (await locker.inspect('held before')).waiters.length === 1)
      await server.call('DEL', register)
      await server.call(...write)
      const before = await server.call(...read)
      expectRefusal(await rejection(locker.lock('resource')), 'ERR_REDIS_WRONGTYPE', 'settings.prefix')
      expect(await lock.unlock()).toBe(true)
      expect(await server.call(...read)).toEqual(before)
      expect(await locker.isLocked('held before')).toBe(false)
      expect(await rejection(waiting)).toMatchObject({ code: 'ERR_REDIS_WRONGTYPE' })
      await server.call('FLUSHALL')
    }
  })

  it('OOM: maxmemory is reached, and nothing is half done', async () => {
    const locker = newLocker()
    const held = await locker.lock('held before')
    await server.call('CONFIG', 'SET', 'maxmemory', '1')
    try {
      expectRefusal(await rejection(locker.lock('resource')), 'ERR_REDIS_OOM', 'maxmemory')
      expect(await server.call('EXISTS', key)).toBe(0)
      // What frees memory goes on working.
      expect(await held.unlock()).toBe(true)
    } finally {
      await server.call('CONFIG', 'SET', 'maxmemory', '0')
    }
  })

  it('NOREPLICAS: it has too few replicas for writes; they are waited for, and then it is said', async () => {
    const locker = newLocker({}, 500)
    const patient = newLocker()
    const held = await patient.lock('held before', { renew: true, expire: 0.3 })
    await locker.isLocked('resource')
    await server.call('CONFIG', 'SET', 'min-replicas-to-write', '1')
    // Several leave together.
    const waiting = ['resource', 'another', 'one more'].map((resource) => patient.lock(resource))
    try {
      const start = performance.now()
      const error = await rejection(locker.lock('resource'))
      expectRefusal(error, 'ERR_REDIS_NOREPLICAS', 'min-replicas-to-write')
      expect(performance.now() - start).toBeGreaterThan(490)
      await until(() => held.signal.aborted, 'its lease has ended')
      expect(held.signal.reason.reason).toBe('connection')
    } finally {
      await server.call('CONFIG', 'SET', 'min-replicas-to-write', '0')
    }
    for (const lock of await Promise.all(waiting)) expect(await lock.unlock()).toBe(true)
  })

  it('READONLY: it is a replica; it is waited for, and then said', async () => {
    const locker = newLocker({}, 500)
    const patient = newLocker()
    await Promise.all([locker.isLocked('resource'), patient.isLocked('resource')])
    // Of a primary that nobody hears of.
    await server.call('REPLICAOF', '127.0.0.1', '1')
    const waiting = patient.lock('resource')
    try {
      const start = performance.now()
      expectRefusal(await rejection(locker.lock('resource')), 'ERR_REDIS_READONLY', 'primary')
      expect(performance.now() - start).toBeGreaterThan(490)
      await server.call('CONFIG', 'SET', 'replica-serve-stale-data', 'no')
      const error = await rejection(locker.lock('resource'))
      expectRefusal(error, 'ERR_REDIS_READONLY', 'primary')
      expect(error.cause.code).toBe('MASTERDOWN')
    } finally {
      await server.call('CONFIG', 'SET', 'replica-serve-stale-data', 'yes')
      await server.call('REPLICAOF', 'NO', 'ONE')
    }
    expect((await waiting).resourceId).toBe('resource')
  })

  it('READONLY: the connection is made anew once a second, as the name may lead to a new primary', async () => {
    const locker = newLocker({}, 3500)
    await locker.isLocked('resource')
    await server.call('REPLICAOF', '127.0.0.1', '1')
    try {
      await server.call('CONFIG', 'RESETSTAT')
      const start = performance.now()
      expect((await rejection(locker.lock('resource'))).code).toBe('ERR_REDIS_READONLY')
      const stats = await server.call('INFO', 'stats')
      const made = Number(stats.match(/total_connections_received:(\d+)/)[1])
      expect(made).toBeGreaterThan(1)
      expect(made).toBeLessThanOrEqual((performance.now() - start) / 1000 + 1)
    } finally {
      await server.call('REPLICAOF', 'NO', 'ONE')
    }
  })

  it('READONLY: through a failover calls wait, and what is held stays', async () => {
    const args = ['--repl-diskless-sync-delay', '0']
    const [primary, replica] = await Promise.all([startRedis({ name, args }), startRedis({ name, args })])
    const proxy = await FaultyProxy.to(primary.port)
    const config = { port: proxy.port, retry_max_delay: 50 }
    try {
      await replica.call('REPLICAOF', '127.0.0.1', primary.port)
      const linked = (server) => async () =>
        (await server.call('INFO', 'replication')).includes('master_link_status:up')
      await until(linked(replica), 'it replicates')
      const locker = newLocker(config, 20_000)
      const lock = await locker.lock('held', { expire: 10, renew: true })
      const inQueue = locker.lock('held', { timeout: Number.POSITIVE_INFINITY })
      await until(async () => (await locker.inspect('held')).waiters.length === 1, 'it waits')
      const impatient = newLocker(config, 2000)
      await impatient.isLocked('held')
      await until(async () => (await primary.call('WAIT', 1, 1000)) === 1, 'all is replicated')

      await replica.call('REPLICAOF', 'NO', 'ONE')
      await primary.call('REPLICAOF', '127.0.0.1', replica.port)
      await until(linked(primary), 'the old primary replicates')
      await primary.call('CONFIG', 'RESETSTAT')
      const locking = locker.lock('resource')
      // On a new connection, which sends its scripts with their source: what waits and what is held are asked about, too.
      await until(async () => (await primary.commandCount('eval')) >= 4, 'all of it is refused')
      expect(await rejection(impatient.tryLock('resource'))).toMatchObject({ code: 'ERR_REDIS_READONLY' })
      const left = lock.remaining()

      proxy.leadTo(replica.port)
      await (await locking).unlock()
      await until(() => lock.remaining() > left, 'it is renewed')
      expect(await lock.unlock()).toBe(true)
      expect(await (await inQueue).unlock()).toBe(true)
      expect(await replica.keys('*')).toEqual(['refused:fence'])
    } finally {
      await proxy.close()
      await Promise.all([primary.stop(), replica.stop()])
    }
  })

  it('NOPERM: the user may not touch the keys, or not run the commands', async () => {
    await server.call('ACL', 'SETUSER', 'no-keys', 'on', '>x', '~other:*', '+@all')
    await server.call('ACL', 'SETUSER', 'no-evalsha', 'on', '>x', '~*', '+@all', '-evalsha', '-eval')
    await server.call('ACL', 'SETUSER', 'no-set', 'on', '>x', '~*', '+@all', '-set')
    await server.call('ACL', 'SETUSER', 'no-select', 'on', '>x', '~*', '+@all', '-select')
    for (const username of ['no-keys', 'no-evalsha', 'no-set', 'no-select']) {
      const locker = newLocker({ username, password: 'x', db: username === 'no-select' ? 1 : 0 })
      expectRefusal(await rejection(locker.lock('resource')), 'ERR_REDIS_NOPERM', 'docs/protocol.md')
      expect(await server.call('EXISTS', key)).toBe(0)
    }
  })

  // The oldest and the newest: it takes a while.
  if (['redis-6.2', 'valkey-9.1'].includes(name)) {
    it('NOPERM: without any one of the commands that are documented, calls work or name it, and nobody waits in vain', async () => {
      const [, , , ...rule] = documentedRule().split(' ')
      const commands = rule.filter((word) => word.startsWith('+')).map((word) => word.slice(1))
      const unneeded = ['select', 'client|setname', 'subscribe', 'publish', 'pubsub|numsub']
      unneeded.push('multi', 'exec', 'incrby')
      /** With all but this command. */
      const work = async (command) => {
        const settings = { prefix: `refused:without ${command}:`, commandTimeout: 5000 }
        const rest = rule.filter((word) => word !== `+${command}`)
        const username = `without-${command}`
        const own = rest.map((word) => word.replace('lock:', settings.prefix.replace(' ', '?')))
        await server.call('ACL', 'SETUSER', username, ...own)
        const [able, barred, beside] = [{}, ...Array(2).fill({ username, password: 'secret' })].map(
          (user) => {
            const locker = lockFactory({ driver: 'redis', config: { port: server.port, ...user }, settings })
            opened.push(locker)
            return locker
          },
        )
        const refused = []
        /** What comes of a call, or nothing if it is refused as it should be. */
        const tried = (promise) =>
          promise.catch((error) => {
            if (['ResourceLockedError', 'AbortError'].includes(error.name)) return
            expect(error).toMatchObject({ code: 'ERR_REDIS_NOPERM', cause: { code: expect.any(String) } })
            expect(`${error.message} ${error.cause.message}`.toLowerCase()).toContain(command)
            refused.push(error)
          })
        const forever = { timeout: Number.POSITIVE_INFINITY, retryInterval: 50 }

        const held = await able.lock('busy')
        // There is a connection by then, and one that waits for a short time only need not wait for that.
        await tried(barred.tryLock('busy'))
        await Promise.all([
          tried(barred.lock('busy', { timeout: 400 })),
          tried(barred.inspect('busy')),
          tried(barred.isLocked('busy')),
        ])
        const cancelling = new AbortController()
        const cancelled = tried(barred.lock('busy', { ...forever, signal: cancelling.signal }))
        const waiting = [barred, beside].map((locker) => tried(locker.lock('busy', forever)))
        const inQueue = async () => {
          const { waiters } = await able.inspect('busy')
          return waiters.length >= 3 || refused.length >= 3
        }
        await until(inQueue, 'they wait, or may not')
        cancelling.abort()
        await Promise.all([cancelled, held.unlock()])
        await Promise.all(waiting.map(async (call) => tried(Promise.resolve((await call)?.unlock()))))

        const ours = await tried(barred.lock('ours', { expire: 2 }))
        const theirs = able.lock('ours', forever)
        if (ours) {
          await until(async () => (await able.inspect('ours')).waiters.length === 1, 'it waits')
          await tried(ours.extend(2))
          await tried(ours.unlock())
        }
        await (await theirs).unlock()

        for (const remove of [() => barred.forceUnlock('removed'), () => barred.purge()]) {
          const lock = await able.lock('removed')
          await tried(remove())
          await lock.unlock()
        }
        expect([command, refused.length > 0]).toEqual([command, !unneeded.includes(command)])
        const left = () => server.keys(`${settings.prefix}*`)
        await until(async () => (await left()).join() === `${settings.prefix}fence`, 'nothing is left')
      }
      await Promise.all(commands.map(work))
    }, 120_000)
  }

  it('NOPERM: what a user may do of all that goes on, and the rest as soon as it may', async () => {
    await server.call('ACL', 'SETUSER', 'reader', 'on', '>x', '~*', '&*', '+@all', '-zpopmin')
    const locker = newLocker({ username: 'reader', password: 'x', retry_max_delay: 50 })
    const held = await newLocker().lock('resource')
    expect((await locker.inspect('resource')).holders).toHaveLength(1)
    const error = await rejection(locker.lock('resource'))
    expectRefusal(error, 'ERR_REDIS_NOPERM', 'may not run ZPOPMIN: docs/protocol.md')
    expect((await locker.inspect('resource')).waiters).toEqual([])
    await held.unlock()
    await server.call('ACL', 'SETUSER', 'reader', '+zpopmin')
    expect((await locker.lock('resource')).held).toBe(true)
  })

  it('nothing, to a user who only looks, with what is documented for that', async () => {
    const [, row] = fs.readFileSync(protocol, 'utf8').match(/^\| (.*) \| `inspect`/m)
    const commands = row.match(/[A-Z]+/g).map((command) => `+${command.toLowerCase()}`)
    await server.call('ACL', 'SETUSER', 'looks', 'on', '>x', '~*', 'resetchannels', '-@all', ...commands)
    const locker = newLocker({ username: 'looks', password: 'x' })
    const lock = await newLocker().lock('resource')
    expect((await locker.inspect('resource')).holders).toHaveLength(1)
    expect(await locker.isLocked('resource')).toBe(true)
    await lock.unlock()
  })

  it('nothing of what somebody else keeps beside the locks', async () => {
    const key = 'refused:lock-inc:permissions'
    await server.call('HSET', key, 'somebody', 'else')
    await server.call('SET', 'lock-inc:permissions', 'another')
    await (await newLocker().lock('resource')).unlock()
    expect(await server.call('HGETALL', key)).toEqual({ somebody: 'else' })
    expect(await server.call('GET', 'lock-inc:permissions')).toBe('another')
    await server.call('DEL', key, 'lock-inc:permissions')
  })

  it('nothing, to a user with just the permissions that are documented', async () => {
    const rule = documentedRule()
    // What hand-overs in a cluster do without is not among them.
    const needed = allSources().replaceAll("'PUBSUB', 'SHARDNUMSUB'", '')
    const calls = needed.matchAll(/call\('([A-Z]+)'(?:, '(NUM[A-Z]+)')?/g)
    const called = [...calls].map(([, ...words]) => words.filter(Boolean).join('|'))
    expect(rule.split(' ')).toEqual(
      expect.arrayContaining(called.map((command) => `+${command.toLowerCase()}`)),
    )
    await server.call(...rule.replaceAll('lock:', 'refused:').split(' '))
    await server.call('ACL', 'LOG', 'RESET')
    const config = { username: 'locks', password: 'secret', db: 1 }
    const [locker, other] = [newLocker(config), newLocker(config)]

    const lock = await locker.lock('resource', { expire: 1, renew: true })
    expect(await rejection(other.lock('resource'))).toBeInstanceOf(lockFactory.ResourceLockedError)
    expect(await rejection(other.lock('resource', { timeout: 50 }))).toBeInstanceOf(
      lockFactory.ResourceLockedError,
    )
    const ours = locker.lock('resource', { timeout: 10_000 })
    const theirs = other.lock('resource', { timeout: 10_000 })
    const cancelling = new AbortController()
    const cancelled = other.lock('resource', { timeout: 10_000, signal: cancelling.signal })
    await until(async () => (await locker.inspect('resource')).waiters.length === 3, 'three wait')
    cancelling.abort()
    expect((await rejection(cancelled)).name).toBe('AbortError')
    const firstEnd = performance.now() + lock.remaining()
    await until(() => performance.now() > firstEnd + 300)
    expect(lock.held).toBe(true)
    expect(await lock.extend(5)).toBe(true)
    expect(await lock.unlock()).toBe(true)
    // In whichever order they came.
    const handedOver = [ours, theirs].map(async (call) => (await call).unlock())
    expect(await Promise.all(handedOver)).toEqual([true, true])

    await locker.lock('resource')
    expect(await other.isLocked('resource')).toBe(true)
    expect(await other.forceUnlock('resource')).toBe(true)
    await locker.lock('resource')
    await other.purge()
    expect(await other.isLocked('resource')).toBe(false)

    expect(await server.call('CLIENT', 'LIST')).toMatch(/name=lock-inc:.* user=locks/)
    const denied = (await server.call('ACL', 'LOG')).map((entry) => entry[entry.indexOf('object') + 1])
    // CLIENT SETINFO, for which old servers have no word of their own.
    expect(denied.filter((object) => !['client', 'client|setinfo'].includes(object))).toEqual([])
  })

  it('BUSY: a script of somebody else runs; it is waited for, and then said', async () => {
    const locker = newLocker({}, 700)
    const patient = newLocker()
    await locker.lock('held')
    await patient.isLocked('resource')
    await server.call('CONFIG', 'SET', name === 'redis-6.2' ? 'lua-time-limit' : 'busy-reply-threshold', '1')
    const blocker = server.client()
    const blocking = blocker.call('EVAL', 'while true do end', '0').catch((error) => error)
    await until(() =>
      server.call('PING').then(
        () => false,
        (error) => error.code === 'BUSY',
      ),
    )
    const waiting = patient.lock('resource')
    expectRefusal(await rejection(locker.lock('resource')), 'ERR_REDIS_BUSY', 'SCRIPT KILL')
    await server.call('SCRIPT', 'KILL')
    await blocking
    expect((await waiting).resourceId).toBe('resource')
  })

  it('LOADING: it reads its data set; it is waited for, and then said', async () => {
    const loading = await startRedis({ name, args: ['--rdbcompression', 'no'] })
    const client = loading.client()
    // Large ones: a server looks after its clients each time that it has read 2 MB.
    await client.call('DEBUG', 'POPULATE', '40', 'key', '1000000')
    await client.call('SAVE')
    await loading.kill()
    // 25 ms for each.
    loading.addArguments('--key-load-delay', '25000')
    await loading.start({ ready: false })
    try {
      const impatient = newLocker({ port: loading.port }, 300)
      const patient = newLocker({ port: loading.port })
      const waiting = patient.lock('resource')
      const error = await until(async () => {
        const error = await impatient.lock('resource').catch((error) => error)
        return error.code === 'ERR_REDIS_LOADING' && error
      }, 'it says that it is loading')
      expectRefusal(error, 'ERR_REDIS_LOADING', 'commandTimeout')
      await impatient.lock('waited for', { timeout: Number.POSITIVE_INFINITY })
      expect((await waiting).resourceId).toBe('resource')
    } finally {
      await loading.stop()
    }
  })

  it('MOVED: it is a node of a cluster, of which config says nothing', async () => {
    const node = await startRedis({ name, args: ['--cluster-enabled', 'yes'] })
    try {
      const locker = newLocker({ port: node.port })
      await node.call('CLUSTER', 'ADDSLOTS', ...Array.from({ length: 16_384 }, (_, index) => index))
      await until(async () => (await node.call('CLUSTER', 'INFO')).includes('cluster_state:ok'), 'it is up')
      expectRefusal(await rejection(locker.lock('resource')), 'ERR_REDIS_MOVED', 'config.cluster')
    } finally {
      await node.stop()
    }
  })

  // Redis 6.2 says ASK instead.
  if (name !== 'redis-6.2') {
    it('TRYAGAIN: a cluster moves the slot of the lock; it is waited for, and then said', async () => {
      const args = ['--cluster-enabled', 'yes']
      const [node, other] = await Promise.all([startRedis({ name, args }), startRedis({ name, args })])
      try {
        const slot = await node.call('CLUSTER', 'KEYSLOT', 'one slot')
        await node.call('CLUSTER', 'ADDSLOTS', ...Array.from({ length: 16_384 }, (_, index) => index))
        await node.call('CLUSTER', 'MEET', '127.0.0.1', other.port)
        const id = await other.call('CLUSTER', 'MYID')
        await until(
          async () => (await node.call('CLUSTER', 'NODES')).match(new RegExp(`${id}.* connected`)),
          'it is known',
        )
        await until(
          async () => (await node.call('CLUSTER', 'INFO')).includes('cluster_state:ok'),
          'the cluster is up',
        )
        const lockers = [500, 10_000].map((commandTimeout) => {
          const settings = { prefix: '{one slot}:', commandTimeout }
          const locker = lockFactory({ driver: 'redis', config: { port: node.port }, settings })
          opened.push(locker)
          return locker
        })
        await (await lockers[0].lock('resource')).unlock()
        await node.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', id)
        const waiting = lockers[1].lock('resource')
        const error = await rejection(lockers[0].lock('resource'))
        expect(error).toMatchObject({ code: 'ERR_REDIS_TRYAGAIN', cause: { code: 'TRYAGAIN' } })
        await node.call('CLUSTER', 'SETSLOT', slot, 'STABLE')
        expect((await waiting).held).toBe(true)
      } finally {
        await Promise.all([node.stop(), other.stop()])
      }
    })
  }

  it('a database that does not exist', async () => {
    const locker = newLocker({ db: 99 })
    expectRefusal(await rejection(locker.lock('resource')), 'ERR_REDIS_DB', 'config.db')
  })
})
