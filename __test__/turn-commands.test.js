'use strict'

const { oldLocker } = require('./support/lock-inc-1.2.0')
const { SERVERS } = require('./support/redis-server')
const { redisScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

// What is called in one turn is taken and given up in few commands.
describe.each(SERVERS)('what is called in one turn (%s)', (name) => {
  const scene = redisScene({ name })
  const { newLocker, key, keys } = scene
  const names = Array.from({ length: 100 }, (_, index) => `resource ${index}`)
  const forever = { timeout: Number.POSITIVE_INFINITY }
  let locker

  beforeEach(async () => {
    locker = newLocker()
    await locker.isLocked('warm-up')
  })

  const count = async (...commands) => {
    const counts = await Promise.all(commands.map((command) => scene.server.commandCount(command)))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  /** Calls, all in one turn, while nothing is answered. */
  const inOneTurn = async (call) => {
    process.kill(scene.server.pid, 'SIGSTOP')
    try {
      return names.map(call)
    } finally {
      process.kill(scene.server.pid, 'SIGCONT')
    }
  }

  /** Takes a lock in such a way that the next one is taken like that, too, as its token need not be lifted. */
  const takeEasily = async (resource) => {
    let lock
    await until(async () => {
      await (await locker.lock('easy')).unlock()
      const before = await count('exec')
      lock = await locker.lock(resource)
      if ((await count('exec')) > before) return true
      await lock.unlock()
    }, 'a lock was taken by a transaction')
    return lock
  }

  it('gets for each lock its own token, in the order of the calls', async () => {
    await (await takeEasily('first')).unlock()
    const locks = await Promise.all(await inOneTurn((name) => locker.lock(name)))
    const tokens = locks.map((lock) => lock.token)
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b))
    // Who holds those that have lasted is noted beside them.
    const held = (await keys()).filter((key) => !key.endsWith(':clients'))
    expect(held).toHaveLength(101)
    const given = await Promise.all(await inOneTurn((_, index) => locks[index].unlock()))
    expect(given).toEqual(Array(100).fill(true))
    expect(await keys()).toEqual([`${scene.prefix}fence`])
  })

  it('is few commands', async () => {
    // Unless it takes so long that tokens have to be lifted, or the store is told who holds the locks.
    const few = async () => {
      await (await takeEasily('first')).unlock()
      const before = await count('exec', 'evalsha')
      const locks = await Promise.all(await inOneTurn((name) => locker.lock(name)))
      await Promise.all(locks.map((lock) => lock.unlock()))
      return (await count('exec', 'evalsha')) - before < 60
    }
    await until(few, 'two hundred calls are some thirty commands')
  })

  it('is done in its order where it is about one resource', async () => {
    const first = await takeEasily('resource')
    const results = await Promise.all([
      locker.tryLock('resource'),
      first.unlock(),
      locker.lock('resource', forever),
      locker.tryLock('resource'),
    ])
    expect(results.map((lock) => (lock?.token ?? lock) === null)).toEqual([true, false, false, true])
    expect(results[1]).toBe(true)
    expect(results[2].token).toBeGreaterThan(first.token)
    expect(await results[2].unlock()).toBe(true)
  })

  it('is granted to those who wait, where a lease has ended, and not to whoever takes it first', async () => {
    const holder = await newLocker().lock('resource', { expire: 600 })
    const waiting = newLocker().lock('resource', forever)
    await scene.waiting('resource', 1)
    // This locker has not seen that somebody waits.
    const taker = newLocker()
    await taker.isLocked('warm-up')
    const lapse = async () => {
      await (await taker.lock('easy')).unlock()
      const before = await count('exec')
      await scene.server.call('DEL', key('resource'))
      expect(await taker.tryLock('resource')).toBeNull()
      return (await count('exec')) > before
    }
    await lapse()
    const lock = await waiting
    expect(lock.held).toBe(true)
    expect(await holder.unlock()).toBe(false)
    expect(await lock.unlock()).toBe(true)
    expect(await keys()).toEqual([`${scene.prefix}fence`])
  })

  it('has tokens that go on from the time where the register was set back', async () => {
    const lock = await takeEasily('a')
    await scene.server.call('SET', `${scene.prefix}fence`, '5')
    const next = await locker.lock('b')
    expect(next.token).toBeGreaterThan(lock.token)
    const [seconds] = await scene.server.call('TIME')
    expect(Math.abs(next.token / 1e6 - seconds)).toBeLessThan(60)
  })

  it('is refused, and leaves nothing, where the register is something else', async () => {
    await (await takeEasily('a')).unlock()
    for (const write of [
      ['SET', 'text'],
      ['RPUSH', 'x'],
    ]) {
      await scene.server.call('DEL', `${scene.prefix}fence`)
      await scene.server.call(write[0], `${scene.prefix}fence`, write[1])
      for (const resource of ['a', 'b']) {
        expect(await rejection(locker.lock(resource))).toMatchObject({ code: 'ERR_REDIS_WRONGTYPE' })
        expect(await scene.exists(resource)).toBe(false)
      }
      await scene.server.call('DEL', `${scene.prefix}fence`)
      await (await takeEasily('a')).unlock()
    }
  })

  it('takes nothing from lock-inc 1.2.0, and gives up nothing of it', async () => {
    const old = oldLocker({ port: scene.server.port, prefix: scene.prefix })
    expect(await old.lock('theirs')).toBe(1)
    const lock = await takeEasily('ours')
    expect(await locker.tryLock('theirs')).toBeNull()
    await old.unlock('ours')
    expect(await old.lock('ours')).toBe(1)
    expect(await lock.unlock()).toBe(false)
    expect(await old.isLocked('ours')).toBe(true)
    await old.unlock('ours')
    await old.unlock('theirs')
    await old.close()
  })

  it('goes on by scripts where transactions are forbidden', async () => {
    const rules = ['on', '>x', '~*', '&*', '+@all', '-multi']
    await scene.server.call('ACL', 'SETUSER', 'plain', ...rules)
    const plain = newLocker({ username: 'plain', password: 'x' })
    for (let round = 0; round < 20; round++) {
      const locks = await Promise.all(names.slice(0, 10).map((name) => plain.lock(name)))
      expect(await Promise.all(locks.map((lock) => lock.unlock()))).toEqual(Array(10).fill(true))
    }
    expect(await keys()).toEqual([`${scene.prefix}fence`])
  })

  it('is refused without memory, and given up all the same', async () => {
    const lock = await takeEasily('resource')
    await scene.server.call('CONFIG', 'SET', 'maxmemory', '1')
    try {
      expect(await rejection(locker.lock('other'))).toMatchObject({ code: 'ERR_REDIS_OOM' })
      expect(await scene.exists('other')).toBe(false)
      expect(await lock.unlock()).toBe(true)
    } finally {
      await scene.server.call('CONFIG', 'SET', 'maxmemory', '0')
    }
  })
})
