'use strict'

const { oldLocker } = require('./support/lock-inc-1.2.0')
const { SERVERS } = require('./support/redis-server')
const { introduced, redisScene } = require('./support/scene')
const { script } = require('./support/scripts')
const { rejection, until } = require('./support/until')

const shared = { mode: 'shared' }
const timeout = Number.POSITIVE_INFINITY
const MANY = 30

/** The same call, many times. */
const times = (call) => Array.from({ length: MANY }, (_, index) => call(index))

const unlockAll = (locks) => Promise.all(locks.map((lock) => lock.unlock()))

/** From here on for a second it is known that several share the resource, so its readers come and go by scripts. */
async function knownAsShared(locker) {
  await unlockAll(await Promise.all([1, 2].map(() => locker.lock('resource', shared))))
}

// Those who share one lock, and call in one turn.
describe.each(SERVERS)('readers of one turn (%s)', (name) => {
  const scene = redisScene({ name })
  const { newLocker, key, keys, waiting } = scene
  const call = (...args) => scene.server.call(...args)
  let locker

  beforeEach(async () => {
    locker = newLocker()
    await knownAsShared(locker)
  })

  /** Calls, all in one turn, while nothing is answered. */
  const inOneTurn = (calls) => {
    process.kill(scene.server.pid, 'SIGSTOP')
    try {
      return calls()
    } finally {
      process.kill(scene.server.pid, 'SIGCONT')
    }
  }
  const read = (options) => locker.lock('resource', { ...shared, ...options })
  const readers = (options) => Promise.all(inOneTurn(() => times(() => read(options))))
  const leave = (locks) => inOneTurn(() => unlockAll(locks))
  const onlyTheRegisterIsLeft = async () => expect(await keys()).toEqual([`${scene.prefix}fence`])

  it('get each its own token, in the order of the calls, and leave nothing', async () => {
    for (let round = 0; round < 3; round++) {
      const locks = await readers()
      const tokens = locks.map((lock) => lock.token)
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b))
      expect((await locker.inspect('resource')).holders).toHaveLength(MANY)
      expect(await leave(locks)).toEqual(times(() => true))
      await onlyTheRegisterIsLeft()
    }
  })

  it('are few commands, also where several resources are read by turns', async () => {
    const names = ['resource', 'another', 'third']
    const count = async () =>
      (await scene.server.commandCount('evalsha')) + (await scene.server.commandCount('exec'))
    const few = async () => {
      await unlockAll(await Promise.all([...names, ...names].map((name) => locker.lock(name, shared))))
      const before = await count()
      const hundred = Array.from({ length: 100 }, (_, index) => names[index % 3])
      const locks = await Promise.all(inOneTurn(() => hundred.map((name) => locker.lock(name, shared))))
      await leave(locks)
      return (await count()) - before < 70
    }
    // Unless it takes so long that the store is told who holds the locks.
    await until(few, 'two hundred calls are some fifty commands')
  })

  it('let a writer in that has come between them, before those who have come after it', async () => {
    const [early, writing, late] = inOneTurn(() => [
      Promise.all(times(() => read())),
      locker.lock('resource', { timeout }),
      Promise.all(times(() => read({ timeout }))),
    ])
    const order = []
    writing.then(() => order.push('writer'))
    late.then(() => order.push('late'))
    const before = await early
    await waiting('resource', 1 + MANY)
    expect(await read().catch((error) => error.name)).toBe('ResourceLockedError')
    expect(order).toEqual([])
    expect(await leave(before)).toEqual(times(() => true))
    const writer = await writing
    expect(await locker.tryLock('resource', shared)).toBeNull()
    expect(order).toEqual(['writer'])
    expect(await writer.unlock()).toBe(true)
    const after = await late
    for (const lock of before) expect(lock.token).toBeLessThan(writer.token)
    for (const lock of after) expect(lock.token).toBeGreaterThan(writer.token)
    expect(await leave(after)).toEqual(times(() => true))
    await until(async () => (await keys()).length === 1, 'only the register is left')
  })

  it('are each refused while somebody writes, and each counted', async () => {
    const writer = await newLocker().lock('resource')
    const refused = await Promise.all(inOneTurn(() => times(() => locker.tryLock('resource', shared))))
    expect(refused).toEqual(times(() => null))
    const { numberOfLocks } = (await rejection(read())).details
    expect(numberOfLocks).toBe(1 + MANY + 1)
    expect(await writer.unlock()).toBe(true)
  })

  it('come beside those of other lockers, of whom one was alone before', async () => {
    const other = newLocker()
    const first = await other.lock('resource', shared)
    const locks = await readers()
    for (const lock of locks) expect(lock.token).toBeGreaterThan(first.token)
    expect((await other.inspect('resource')).holders).toHaveLength(MANY + 1)
    expect(await first.unlock()).toBe(true)
    expect(await other.tryLock('resource')).toBeNull()
    expect(await leave(locks)).toEqual(times(() => true))
    await onlyTheRegisterIsLeft()
  })

  it('are no more than their limit, the first ones that have called', async () => {
    const half = MANY / 2
    const tryOne = () => locker.tryLock('resource', { ...shared, limit: half })
    const tried = await Promise.all(inOneTurn(() => times(tryOne)))
    expect(tried.map((lock) => lock !== null)).toEqual(times((index) => index < half))
    expect(await leave(tried.slice(0, half - 1))).not.toContain(false)
    const more = await Promise.all(inOneTurn(() => times(tryOne)))
    expect(more.map((lock) => lock !== null)).toEqual(times((index) => index < half - 1))
    await leave([tried[half - 1], ...more.slice(0, half - 1)])
    await onlyTheRegisterIsLeft()
  })

  it('make room for those who wait as they leave together', async () => {
    const limit = MANY / 2
    const locks = await Promise.all(times(() => locker.tryLock('resource', { ...shared, limit })))
    const got = []
    const take = async () => got.push(await read({ limit, timeout }))
    const taking = Promise.all(inOneTurn(() => times(take)))
    await waiting('resource', MANY)
    // They are of the same locker, so it is the answers to its own releases that say whose turn it is.
    await leave(locks.filter(Boolean))
    await until(() => got.length === limit, 'as many have come as have gone')
    expect((await locker.inspect('resource')).waiters).toHaveLength(limit)
    await leave(got.splice(0))
    await taking
    expect(await leave(got)).toEqual(Array(limit).fill(true))
    await until(async () => (await keys()).length === 1, 'only the register is left')
  })

  it('go on where the server has forgotten the scripts', async () => {
    await call('SCRIPT', 'FLUSH')
    const locks = await readers()
    await call('SCRIPT', 'FLUSH')
    expect(await leave(locks)).toEqual(times(() => true))
    await onlyTheRegisterIsLeft()
  })

  it('are told each for itself whether it still had the lock', async () => {
    const locks = await readers()
    const holders = await call('ZRANGE', `${key('resource')}:holders`, 0, -1)
    for (const nonce of holders.slice(3, 5)) await call('ZREM', `${key('resource')}:holders`, nonce)
    const left = await leave(locks)
    expect(left.filter((was) => !was)).toHaveLength(2)
    await onlyTheRegisterIsLeft()
  })

  it('do not come back to what lock-inc 1.2.0 has deleted, when others share it anew', async () => {
    const locks = await readers()
    const old = oldLocker({ port: scene.server.port, prefix: scene.prefix })
    expect(await old.lock('resource')).toBeGreaterThan(1)
    await old.unlock('resource')
    const other = newLocker()
    await knownAsShared(other)
    const anew = await Promise.all(inOneTurn(() => times(() => other.lock('resource', shared))))
    expect(await leave(locks)).toEqual(times(() => false))
    expect((await other.inspect('resource')).holders).toHaveLength(MANY)
    expect(await old.isLocked('resource')).toBe(true)
    expect(await leave(anew)).toEqual(times(() => true))
    expect(await old.isLocked('resource')).toBe(false)
    await old.close()
  })

  it('take the place of holders whose leases are over', async () => {
    const limit = MANY
    const gone = newLocker()
    await Promise.all([1, 2].map(() => gone.lock('resource', { ...shared, limit, expire: 0.2 })))
    await gone.lock('resource', { ...shared, limit, expire: 60 })
    const all = async () => {
      const tried = await Promise.all(times(() => locker.tryLock('resource', { ...shared, limit })))
      const got = tried.filter((lock) => lock !== null)
      if (got.length === limit - 1) return got
      await unlockAll(got)
    }
    const got = await until(all, 'two leases are over')
    expect((await locker.inspect('resource')).holders).toHaveLength(limit)
    await unlockAll(got)
  })

  it('leave the lock with the lease of those who stay, and no record of themselves', async () => {
    const short = await newLocker().lock('resource', { ...shared, expire: 1 })
    const long = await readers({ expire: 3600 })
    await introduced(locker, 'resource')
    const names = ['', ':holders'].map((suffix) => key('resource') + suffix)
    for (const name of names) expect(await call('PTTL', name)).toBeGreaterThan(3_000_000)
    await leave(long)
    for (const name of names) expect(await call('PTTL', name)).toBeLessThanOrEqual(1000)
    expect(await call('PTTL', `${key('resource')}:clients`)).toBeLessThanOrEqual(15_000)
    const records = await call('HKEYS', `${key('resource')}:clients`)
    expect(records.filter((field) => field.startsWith('holder:')).length).toBeLessThanOrEqual(1)
    await short.unlock()
    await onlyTheRegisterIsLeft()
  })

  it('are refused each for itself where those who would wait find a foreign key', async () => {
    const limit = MANY / 2
    await call('SET', `${key('resource')}:clients`, 'what somebody else has put there')
    const calls = inOneTurn(() => times(() => read({ limit, timeout }).catch((error) => error.code)))
    const locks = await Promise.all(calls)
    expect(locks.slice(limit)).toEqual(Array(limit).fill('ERR_REDIS_WRONGTYPE'))
    expect(await unlockAll(locks.slice(0, limit))).toEqual(Array(limit).fill(true))
    expect(await scene.exists('resource')).toBe(false)
  })

  it('are refused without memory, and leave all the same', async () => {
    const locks = await readers()
    await call('CONFIG', 'SET', 'maxmemory', 1)
    try {
      const codes = await Promise.all(inOneTurn(() => times(() => rejection(read()))))
      expect(codes.map(({ code }) => code)).toEqual(times(() => 'ERR_REDIS_OOM'))
      expect(await leave(locks)).toEqual(times(() => true))
      const none = await Promise.all(inOneTurn(() => times(() => rejection(read()))))
      expect(none.map(({ code }) => code)).toEqual(times(() => 'ERR_REDIS_OOM'))
    } finally {
      await call('CONFIG', 'SET', 'maxmemory', 0)
    }
    await onlyTheRegisterIsLeft()
  })

  it('have greater tokens than before, where the register is ahead, and none where it holds something else', async () => {
    const fence = `${scene.prefix}fence`
    await call('SET', fence, '8000000000000000')
    const locks = await readers()
    expect(locks.map((lock) => lock.token - 8_000_000_000_000_000)).toEqual(times((index) => index + 1))
    expect(await call('GET', fence)).toBe(String(8_000_000_000_000_000 + MANY))
    for (const value of ['9007199254740970', 'text']) {
      await call('SET', fence, value)
      const tried = await Promise.all(inOneTurn(() => times(() => read().catch((error) => error.code))))
      const codes = tried.filter((lock) => typeof lock === 'string')
      expect(new Set(codes)).toEqual(new Set(['ERR_REDIS_WRONGTYPE']))
      if (value === 'text') expect(await call('GET', fence)).toBe(value)
      await leave(tried.filter((lock) => typeof lock !== 'string'))
    }
    expect(await leave(locks)).toEqual(times(() => true))
  })

  it('that are sent again have what they had, and no lease is shortened', async () => {
    const lock = key('other')
    const all = ['', ':clients', ':holders', ':queue'].map((suffix) => lock + suffix)
    const nonces = ['1234565000001', '1234565000002', '1234565000003', '1234565000004']
    const acquire = (lease, [first, ...rest]) => {
      const arguments_ = [first, lease, 0, `${scene.prefix}client:`, '', '1', ...rest]
      return call('EVAL', script('acquire'), 5, ...all, `${scene.prefix}fence`, ...arguments_)
    }
    const tokens = await acquire(60_000, nonces.slice(0, 2))
    const lease = await call('ZSCORE', all[2], nonces[1])
    tokens.push(...(await acquire(1000, nonces.slice(1, 3))), await acquire(1000, nonces.slice(3)))
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b))
    expect((await call('ZRANGE', all[2], 0, -1)).sort()).toEqual(nonces)
    expect(await call('ZSCORE', all[2], nonces[1])).toBe(lease)
    expect(await call('PTTL', lock)).toBeGreaterThan(50_000)
    expect(await call('GET', lock)).toBe('9200000000000000001')
    const release = ([first, ...rest]) => {
      const arguments_ = [first, '0123456789abcdef', `${scene.prefix}client:`, '', ...rest]
      return call('EVAL', script('release'), 5, ...all, `${scene.prefix}fence`, ...arguments_)
    }
    expect(await release(nonces.slice(0, 3))).toEqual([1, 1, 1])
    expect(await release(nonces.slice(2))).toEqual([0, 1])
    expect(await call('EXISTS', ...all)).toBe(0)
  })
})

describe('readers of one turn whose answers are lost', () => {
  const scene = redisScene({ throughProxy: true })
  const { newLocker, key, keys } = scene
  const holders = () => scene.server.call('ZCARD', `${key('resource')}:holders`)

  const loseAnswers = async (call, condition, what) => {
    scene.proxy.swallowReplies()
    const calls = call()
    await until(condition, what)
    scene.proxy.forwardReplies()
    scene.proxy.cut()
    return Promise.all(calls)
  }

  it('have each its own lock, and have each given it up', async () => {
    const locker = newLocker()
    await knownAsShared(locker)
    const locks = await loseAnswers(
      () => times(() => locker.lock('resource', shared)),
      async () => (await holders()) === MANY,
      'all have the lock',
    )
    expect(await holders()).toBe(MANY)
    expect(new Set(locks.map((lock) => lock.token)).size).toBe(MANY)
    await knownAsShared(locker)
    const given = await loseAnswers(
      () => locks.map((lock) => lock.unlock()),
      async () => !(await scene.exists('resource')),
      'nobody has it any more',
    )
    expect(given).toEqual(times(() => true))
    expect(await keys()).toEqual([`${scene.prefix}fence`])
  })

  it('give up what nobody waits for any more', async () => {
    const locker = newLocker({ settings: { commandTimeout: 300 } })
    await knownAsShared(locker)
    scene.proxy.swallowReplies()
    const failing = times(() => rejection(locker.lock('resource', shared)))
    await until(async () => (await holders()) === MANY, 'all have the lock')
    for (const error of await Promise.all(failing)) expect(error.code).toBe('ERR_CONNECTION')
    scene.proxy.forwardReplies()
    await until(async () => (await keys()).length === 1, 'only the register is left')
  })
})
