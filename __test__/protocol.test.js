'use strict'

const fs = require('node:fs')
const path = require('node:path')
const lockFactory = require('..')
const { oldLocker } = require('./support/lock-inc-1.2.0')
const { introduced, redisScene } = require('./support/scene')
const { read, script } = require('./support/scripts')
const { rejection, until } = require('./support/until')

// What is said once in each language, as the scripts say it.
describe('the times of the queue', () => {
  const [queue, clients] = [read('shared/queue.lua'), read('shared/clients.lua')]
  const root = path.join(__dirname, '..')
  /** The number that follows a name in a file. */
  const numberIn = (text, pattern) => Number(text.match(pattern)[1])
  const numberOf = (file, pattern) => numberIn(fs.readFileSync(path.join(root, file), 'utf8'), pattern)
  const grace = numberIn(queue, /local GRACE = (\d+)/)
  const alive = numberIn(clients, /local ALIVE = (\d+)/)
  const simulation = 'crates/core/tests/locker/simulation'

  it('have one grace period', () => {
    expect(1000 * numberOf(`${simulation}/server.rs`, /GRACE: Duration = Duration::from_secs\((\d+)\)/)).toBe(
      grace,
    )
  })

  it('let a client miss two of its polls before it counts as dead', () => {
    const longestPoll = numberOf('crates/core/src/waiters.rs', /LONGEST_POLL: .*from_secs\((\d+)\)/)
    expect(alive).toBe(3 * 1000 * longestPoll)
    expect(
      1000 * numberOf(`${simulation}/server/lock.rs`, /ALIVE: Duration = Duration::from_secs\((\d+)\)/),
    ).toBe(alive)
  })
})

// What is in Redis, and what goes over the wire.
describe('the wire protocol', () => {
  const scene = redisScene()
  const { newLocker, key, keys, recordOf } = scene
  let locker

  beforeEach(() => {
    locker = newLocker()
  })

  it('keeps a lock as one word, besides the fence register and who its lockers are', async () => {
    const lock = await locker.lock('resource', { expire: 300 })
    const word = await scene.server.call('GET', key('resource'))
    expect(word).toMatch(/^\d{13}000001$/)
    expect(await scene.server.call('GET', `${scene.prefix}fence`)).toBe(String(lock.token))
    expect(await scene.server.call('PTTL', `${scene.prefix}fence`)).toBe(-1)

    const entry = `${scene.prefix}client:${word.slice(0, 6)}`
    expect(await scene.server.call('KEYS', `${scene.prefix}*`)).toEqual(
      expect.arrayContaining([key('resource'), `${scene.prefix}fence`, entry]),
    )
    const [client, pid, host] = (await scene.server.call('GET', entry)).split(' ')
    expect(client).toMatch(/^[0-9a-f]{16}$/)
    expect(Number(pid)).toBe(process.pid)
    expect(host).toBe(require('node:os').hostname())
    // Whoever dies is known for as long as its locks are there.
    const ttl = await scene.server.call('PTTL', entry)
    expect(ttl).toBeGreaterThanOrEqual(await scene.server.call('PTTL', key('resource')))
    expect(ttl).toBeLessThanOrEqual(360_000)
  })

  it('says who a locker is once, not with each lock', async () => {
    await locker.lock('first')
    const number = (await scene.server.call('GET', key('first'))).slice(0, 6)
    const ends = () => scene.server.call('PEXPIRETIME', `${scene.prefix}client:${number}`)
    const before = await ends()
    for (let index = 0; index < 10; index++) await locker.lock(`resource ${index}`)
    expect(await ends()).toBe(before)
    await locker.lock('longer', { expire: 1000 })
    expect(await ends()).toBeGreaterThan(before)
  })

  it('a locker whose number another one has takes another number', async () => {
    await locker.lock('a')
    const number = async (resource) => (await scene.server.call('GET', key(resource))).slice(0, 6)
    const [first] = [await number('a')]
    const entry = `${scene.prefix}client:${first}`
    await scene.server.call('SET', entry, 'fedcba9876543210 1 elsewhere')
    // It is told again with a longer lease, and hears of the other one.
    await locker.lock('b', { expire: 3600 })
    await until(async () => {
      await (await locker.lock('c')).unlock()
      const lock = await locker.lock('c')
      const changed = (await number('c')) !== first
      await lock.unlock()
      return changed
    }, 'it has another number')
  })

  it('an error says who holds a lock by its number, and is none the worse where nobody knows', async () => {
    const other = newLocker()
    // It has been taken, and who has it has not said more.
    await scene.server.call('SET', key('resource'), '1234567890123000001', 'PX', '60000')
    const young = await rejection(other.lock('resource'))
    expect(young).toMatchObject({ code: 'ERR_RESOURCE_LOCKED', holder: null, details: { numberOfLocks: 2 } })
    await scene.server.call('DEL', key('resource'))
    const lock = await locker.lock('resource')
    const word = await scene.server.call('GET', key('resource'))
    const entry = `${scene.prefix}client:${word.slice(0, 6)}`
    expect((await introduced(other, 'resource')).token).toBe(lock.token)
    await scene.server.call('SET', entry, 'fedcba9876543210 7 elsewhere', 'PX', '60000')
    await lock.unlock()
    await scene.server.call('SET', key('resource'), word, 'PX', '60000')
    const holder = { clientId: 'fedcba9876543210', pid: 7, host: 'elsewhere', since: null, token: null }
    // One that has not heard of that number yet.
    expect((await rejection(newLocker().lock('resource'))).holder).toEqual(holder)
  })

  it('keeps the record of a lock that lasts, and nothing else', async () => {
    const before = Date.now()
    const lock = await locker.lock('User:1602 and more', { expire: 30 })
    const lockKey = key('User:1602 and more')
    await introduced(locker, 'User:1602 and more')
    expect(await keys()).toEqual([lockKey, `${lockKey}:clients`, `${scene.prefix}fence`].sort())

    const word = await scene.server.call('GET', lockKey)
    const record = await recordOf('User:1602 and more')
    const [nonce, token, client, pid, host, ...name] = record.split(' ')
    expect(word).toBe(`${nonce}000001`)
    expect(Number(token)).toBe(lock.token)
    // Microseconds since 1970.
    expect(Number(token) / 1000).toBeGreaterThanOrEqual(before)
    expect(Number(token) / 1000).toBeLessThanOrEqual(Date.now() + 1)
    expect(client).toMatch(/^[0-9a-f]{16}$/)
    expect(Number(pid)).toBe(process.pid)
    expect(host).toBe(require('node:os').hostname())
    expect(name.join(' ')).toBe('User:1602 and more')

    for (const leased of [lockKey, `${lockKey}:clients`]) {
      const ttl = await scene.server.call('PTTL', leased)
      expect(ttl).toBeGreaterThan(20_000)
      expect(ttl).toBeLessThanOrEqual(30_000)
    }
  })

  it('leaves nothing but the fence register when everybody has gone', async () => {
    const locks = await Promise.all(
      Array.from({ length: 20 }, (_, index) => locker.lock(`resource ${index}`)),
    )
    await rejection(locker.lock('resource 1'))
    await Promise.all(locks.map((lock) => lock.unlock()))
    await locker.lock('expiring', { expire: 0.02 })
    await until(async () => !(await locker.isLocked('expiring')))
    expect(await keys()).toEqual([`${scene.prefix}fence`])
  })

  it('takes one transaction or script to lock, one or two to be refused, and one to unlock', async () => {
    const other = newLocker()
    // The server gets to know all scripts.
    const known = await locker.lock('warm-up')
    await rejection(other.lock('warm-up'))
    await known.unlock()
    await (await locker.lock('other')).unlock()
    await scene.server.call('CONFIG', 'RESETSTAT')
    const counts = async () => {
      const kinds = ['exec', 'evalsha'].map((name) => scene.server.commandCount(name))
      return (await Promise.all(kinds)).reduce((sum, count) => sum + count)
    }
    const steps = async (resource) => {
      const counted = []
      const count = async (step) => {
        const before = await counts()
        await step()
        counted.push((await counts()) - before)
      }
      // From here on a token is near the server's clock.
      await (await locker.lock('other')).unlock()
      await count(async () => (await locker.lock(resource)).unlock())
      const lock = await locker.lock(resource)
      await count(() => rejection(other.lock(resource)))
      // Who holds it, or was refused it, knows that it is of no use to try.
      await count(() => rejection(locker.lock(resource)))
      await count(() => rejection(other.lock(resource)))
      await count(() => lock.unlock())
      return counted
    }
    await until(async () => {
      const start = performance.now()
      const counted = await steps(`resource at ${start}`)
      // Of a lock that lasts for longer the store is told who holds it.
      if (performance.now() - start > 90) return false
      const [cycle, refused, ...rest] = counted
      expect([1, 2]).toContain(refused)
      expect([cycle, ...rest]).toEqual([2, 1, 1, 1])
      return true
    }, 'it has taken less than 90 ms')
    for (const name of ['eval', 'script|load', 'watch', 'publish']) {
      expect(await scene.server.commandCount(name)).toBe(0)
    }
  })

  it('sends a script along when the server has forgotten it', async () => {
    const lock = await locker.lock('resource')
    await scene.server.call('SCRIPT', 'FLUSH')
    expect(await lock.unlock()).toBe(true)
    await scene.server.call('SCRIPT', 'FLUSH')
    await locker.lock('resource')
  })

  it('a renewal or an attempt that was held up on its way shortens no lease', async () => {
    const lock = await locker.lock('resource', { expire: 3 })
    await introduced(locker, 'resource')
    const [lockKey, fence] = [key('resource'), `${scene.prefix}fence`]
    const names = ['', ':clients', ':holders', ':queue'].map((suffix) => lockKey + suffix)
    const [nonce, token, ...record] = (await recordOf('resource')).split(' ')
    await lock.extend(60)
    const renewal = [nonce, 3000, 'raise', 0, token, record.join(' ')]
    expect(await scene.server.call('EVAL', script('renew'), 3, ...names.slice(0, 3), ...renewal)).toBe(1)
    const args = [nonce, 3000, 0, `${scene.prefix}client:`]
    const again = ['EVAL', script('acquire'), 5, ...names, fence, ...args]
    expect(await scene.server.call(...again)).toBe(lock.token)
    const leased = names.slice(0, 2)
    for (const name of leased) expect(await scene.server.call('PTTL', name)).toBeGreaterThan(50_000)
    // Where the lease is shorter, whoever gets the answer has a full one.
    await lock.extend(1)
    expect(await scene.server.call(...again)).toBe(lock.token)
    for (const name of leased) expect(await scene.server.call('PTTL', name)).toBeGreaterThan(2000)
  })

  it('sends a lease in milliseconds, also a fraction of a second', async () => {
    await locker.lock('resource', { expire: 1.75 })
    const ttl = await scene.server.call('PTTL', key('resource'))
    expect(ttl).toBeGreaterThan(1000)
    expect(ttl).toBeLessThanOrEqual(1750)
  })

  it('goes over one connection for all lockers with the same config, until the last of them is closed', async () => {
    const config = { db: 3 }
    const lockers = [newLocker(config), newLocker(config), newLocker(config)]
    const connections = async () => (await scene.server.call('CLIENT', 'LIST')).match(/ db=3 /g)?.length ?? 0
    await Promise.all(lockers.map((locker, index) => locker.lock(`resource ${index}`)))
    expect(await connections()).toBe(1)
    await Promise.all([lockers[0].close(), lockers[1].close()])
    expect(await (await lockers[2].lock('resource')).unlock()).toBe(true)
    expect(await connections()).toBe(1)
    await lockers[2].close()
    await until(async () => (await connections()) === 0, 'the connection is gone')
    // The link that was closed is not used again.
    expect((await newLocker(config).lock('resource')).held).toBe(true)
  })

  it('an unlock after the client has stopped to rely on the lock is false, and gives up what the server still holds', async () => {
    // The margin of this lease is 102 ms.
    const lock = await locker.lock('resource', { expire: 10 })
    const end = performance.now() + 9900
    await until(() => performance.now() > end, 'only the margin is left')
    await (await locker.lock('another')).unlock()
    expect(await lock.unlock()).toBe(false)
    expect(await locker.isLocked('resource')).toBe(false)
  })

  it('names its connection, so that CLIENT LIST shows who it is', async () => {
    await locker.lock('resource')
    const { holder } = await rejection(locker.lock('resource'))
    const name = `lock-inc:${holder.host}:${holder.pid}`
    expect(await scene.server.call('CLIENT', 'LIST')).toContain(`name=${name} `)
  })

  describe('the fence register', () => {
    it('makes tokens increase when the clock of the server has stepped back', async () => {
      const ahead = Date.now() * 1000 + 3_600_000_000
      await scene.server.call('SET', `${scene.prefix}fence`, ahead)
      const { token } = await locker.lock('a')
      expect(token).toBeGreaterThan(ahead)
      expect((await locker.lock('b')).token).toBeGreaterThan(token)
    })

    it('survives a purge', async () => {
      const ahead = Date.now() * 1000 + 3_600_000_000
      await scene.server.call('SET', `${scene.prefix}fence`, ahead)
      await locker.lock('a')
      await locker.purge()
      expect((await locker.lock('a')).token).toBeGreaterThan(ahead + 1)
    })

    it('is lifted to the time of the server where a failover has set it back', async () => {
      const { token } = await locker.lock('a')
      // As the replica had it that is the primary now.
      for (const before of [token - 5_000_000, token - 1_000_000, 0]) {
        await scene.server.call('SET', `${scene.prefix}fence`, before)
        const next = await locker.lock(`${before}`)
        expect(next.token).toBeGreaterThan(token)
        expect(Number(await scene.server.call('GET', `${scene.prefix}fence`))).toBe(next.token)
      }
    })

    it.each(['not a number', '9007199254740991', '1e400'])(
      'with %j in it is refused before anything is written',
      async (value) => {
        await scene.server.call('SET', `${scene.prefix}fence`, value)
        const error = await rejection(locker.lock('resource'))
        expect(error).toMatchObject({
          name: 'RedisError',
          code: 'ERR_REDIS_WRONGTYPE',
          resourceId: 'resource',
        })
        expect(await keys()).toEqual([`${scene.prefix}fence`])
      },
    )

    it('continues from server time when it is lost', async () => {
      const { token } = await locker.lock('a')
      await scene.server.call('FLUSHALL')
      expect((await locker.lock('a')).token).toBeGreaterThan(token)
    })
  })

  describe('beside lock-inc 1.2.0', () => {
    let old

    beforeEach(() => {
      old = oldLocker({ port: scene.server.port, prefix: scene.prefix })
    })

    afterEach(() => old.close())

    it('a lock of either side is a lock for the other', async () => {
      const lock = await locker.lock('ours')
      expect(await old.lock('ours')).toBeGreaterThan(1)
      expect(await old.isLocked('ours')).toBe(true)
      await lock.unlock()
      expect(await old.isLocked('ours')).toBe(false)

      expect(await old.lock('theirs')).toBe(1)
      expect(await locker.isLocked('theirs')).toBe(true)
      const error = await rejection(locker.lock('theirs'))
      expect(error).toMatchObject({
        code: 'ERR_RESOURCE_LOCKED',
        holder: null,
        details: { numberOfLocks: 2 },
      })
      expect(error.leaseLeft).toBeGreaterThan(50_000)
      await old.unlock('theirs')
      await locker.lock('theirs')
    })

    it('attempts of both sides are counted together', async () => {
      await locker.lock('resource')
      await old.lock('resource')
      expect((await rejection(locker.lock('resource'))).details.numberOfLocks).toBe(3)
      await old.lock('other')
      await old.lock('other')
      expect((await rejection(locker.lock('other'))).details.numberOfLocks).toBe(3)
    })

    it('attempts of old clients do not prolong our lease', async () => {
      await locker.lock('resource', { expire: 10 })
      for (let index = 0; index < 5; index++) await old.lock('resource', { expire: 100 })
      expect(await scene.server.call('PTTL', key('resource'))).toBeLessThanOrEqual(10_000)
    })

    it('gives a lock that an old client has taken, and not yet set the lease of, as long as that would', async () => {
      await old.lockAndDie('resource')
      const error = await rejection(locker.lock('resource', { expire: 0.3 }))
      expect(error.leaseLeft).toBe(60_000)
      const ttl = await scene.server.call('PTTL', key('resource'))
      expect(ttl).toBeGreaterThan(30_000)
      expect(ttl).toBeLessThanOrEqual(60_000)
    })

    it('an unlock does not touch what an old client took after an old client had deleted our lock', async () => {
      const lock = await locker.lock('resource')
      await old.unlock('resource')
      expect(await old.lock('resource')).toBe(1)
      expect(await lock.unlock()).toBe(false)
      expect(await scene.server.call('GET', key('resource'))).toBe('1')
      expect(await scene.server.call('EXISTS', `${key('resource')}:clients`)).toBe(0)
    })

    it('the record of a holder whose lock was taken over does not speak for the new holder', async () => {
      await locker.lock('resource')
      await old.unlock('resource')
      await old.lock('resource')
      expect((await rejection(locker.lock('resource'))).holder).toBeNull()
    })

    it('an unlock after an old client has deleted the lock answers false and leaves nothing', async () => {
      const lock = await locker.lock('resource')
      await old.unlock('resource')
      expect(await lock.unlock()).toBe(false)
      expect(await keys()).toEqual([`${scene.prefix}fence`])
    })

    it('each side purges the locks of the other', async () => {
      await locker.lock('ours')
      await old.lock('theirs')
      await locker.purge()
      expect(await keys()).toEqual([`${scene.prefix}fence`])
      // 1.2.0 stops at an empty page: it finds all of them only where there is little else.
      await scene.server.call('FLUSHALL')
      const lock = await locker.lock('ours')
      await old.purge()
      expect(await keys()).toEqual([])
      expect(await lock.unlock()).toBe(false)
    })
  })

  describe('purge', () => {
    it('goes on where a page of SCAN is empty', async () => {
      // So many other keys that most pages hold no lock.
      await scene.server.call('DEBUG', 'POPULATE', 20_000, `other-${scene.prefix}`)
      await locker.lock('a')
      await locker.lock('b')
      await locker.purge()
      expect(await keys()).toEqual([`${scene.prefix}fence`])
      await scene.server.call('FLUSHALL')
    })

    it('removes locks, and leaves other keys that begin with the prefix', async () => {
      const others = [
        `${scene.prefix}settings`,
        `${scene.prefix}2:${lockFactory.hash('a')}`,
        `${key('a')}:notes`,
      ]
      for (const other of others) await scene.server.call('SET', other, 'x')
      await locker.lock('a')
      await locker.purge()
      expect(await keys()).toEqual([...others, `${scene.prefix}fence`].sort())
    })

    it('removes the record of a holder whose lock is gone', async () => {
      await locker.lock('a')
      await introduced(locker, 'a')
      await scene.server.call('DEL', key('a'))
      await locker.purge()
      expect(await keys()).toEqual([`${scene.prefix}fence`])
    })
  })

  it('puts config.prefix in front of every key, in a purge too', async () => {
    const both = newLocker({ prefix: `app-${scene.prefix}` })
    const lock = await both.lock('resource')
    const lockKey = `app-${scene.prefix}${key('resource')}`
    await introduced(both, 'resource')
    expect(await keys(`app-${scene.prefix}*`)).toEqual(
      [lockKey, `${lockKey}:clients`, `app-${scene.prefix}${scene.prefix}fence`].sort(),
    )
    await lock.unlock()
    await both.lock('resource')
    await both.purge()
    expect(await both.isLocked('resource')).toBe(false)
    expect(await keys()).toEqual([])
  })
})
