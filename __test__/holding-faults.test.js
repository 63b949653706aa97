'use strict'

const { execFile } = require('node:child_process')
const path = require('node:path')
const { oldLocker } = require('./support/lock-inc-1.2.0')
const { connected, introduced, lossOf, redisScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

// Locks that are held while something goes wrong.
describe('a held lock', () => {
  const scene = redisScene({ throughProxy: true })
  const { newLocker, key, exists } = scene

  /** A lock that Redis has granted, while the client still waits for the reply. In an object, as it must not be awaited. */
  const grantUnheard = async (options) => {
    const locker = await connected(newLocker({ settings: { commandTimeout: 100 } }))
    scene.proxy.swallowReplies()
    const locking = locker.lock('resource', {
      timeout: Number.POSITIVE_INFINITY,
      retryInterval: 10,
      ...options,
    })
    await until(() => exists('resource'), 'Redis has granted the lock')
    return { locking }
  }
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

  const expectReliedOnForNoLongerThanKept = async (lock) => {
    // In this order: while the answer is on its way, both grow shorter.
    const kept = await scene.server.call('PTTL', key('resource'))
    expect(lock.remaining()).toBeLessThanOrEqual(Math.max(0, kept))
  }

  describe('and a network that fails', () => {
    it('survives cut connections while its lease runs', async () => {
      const lock = await newLocker().lock('resource', { expire: 1, renew: true })
      for (let round = 0; round < 10; round++) {
        scene.proxy.cut()
        await sleep(150)
        expect(lock.held).toBe(true)
      }
      expect(await lock.unlock()).toBe(true)
    })

    it('survives a renewal whose reply is lost', async () => {
      const lock = await newLocker().lock('resource', { expire: 1.5, renew: true })
      scene.proxy.swallowReplies()
      await sleep(700)
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      await sleep(1500)
      expect(lock.held).toBe(true)
      expect(await lock.unlock()).toBe(true)
    })

    it('is lost at its local deadline when Redis does not answer, and no later', async () => {
      const lock = await newLocker({ settings: { commandTimeout: 300 } }).lock('resource', {
        expire: 1,
        renew: true,
      })
      await sleep(500)
      const left = lock.remaining()
      const start = performance.now()
      scene.proxy.swallowReplies()
      const error = await lossOf(lock)
      expect(error).toMatchObject({ code: 'ERR_LOCK_LOST', reason: 'connection', token: lock.token })
      // A renewal that was answered just before may have given it another lease.
      expect(performance.now() - start).toBeLessThan(left + 1100)
      expect(lock.held).toBe(false)
    })

    it('is not relied on for longer than Redis keeps it, however late the reply to the grant came', async () => {
      const { locking } = await grantUnheard({ expire: 3 })
      await sleep(800)
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      const lock = await locking
      await expectReliedOnForNoLongerThanKept(lock)
    })

    it('is good for a full lease where the first reply was lost for longer than that', async () => {
      const { locking } = await grantUnheard({ expire: 1 })
      // Kept alive as by a renewal of which the client knows nothing.
      await scene.server.call('PEXPIRE', key('resource'), 60_000)
      await scene.server.call('PEXPIRE', `${key('resource')}:clients`, 60_000)
      await sleep(1200)
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      expect((await locking).held).toBe(true)
    })

    it('is relied on for no longer than a shorter lease of which no answer came', async () => {
      const locker = await connected(newLocker({ settings: { commandTimeout: 300 } }))
      const lock = await locker.lock('resource', { expire: 60 })
      await lock.extend(60)
      scene.proxy.swallowReplies()
      const shortened = rejection(lock.extend(5))
      await until(async () => (await scene.server.call('PTTL', key('resource'))) <= 5000, 'it is shortened')
      expect(await shortened).toMatchObject({ code: 'ERR_CONNECTION' })
      await expectReliedOnForNoLongerThanKept(lock)
    })

    it.each([true, false])(
      'is not relied on for longer by a late answer to what was asked before a shorter lease (renewed: %p)',
      async (renew) => {
        const locker = newLocker({ settings: { commandTimeout: 1000 } })
        const lock = await locker.lock('resource', { expire: renew ? 3 : 60, renew })
        await lock.extend(60)
        scene.proxy.holdReplies()
        const first = renew ? sleep(1100) : lock.extend(100)
        const second = lock.extend(1.5).catch((error) => error)
        await sleep(200)
        scene.proxy.releaseReplies()
        await first
        await second
        await expectReliedOnForNoLongerThanKept(lock)
      },
    )

    it('keeps its lease when an extension to a shorter one arrives that was held up on its way', async () => {
      const lock = await newLocker().lock('resource', { expire: 60 })
      expect(await lock.extend(60)).toBe(true)
      scene.proxy.holdRequests()
      // Over the next connection.
      expect(await lock.extend(2)).toBe(true)
      expect(await scene.server.call('PTTL', key('resource'))).toBeLessThanOrEqual(2000)
      expect(await lock.extend(60)).toBe(true)
      const before = await scene.server.commandCount('evalsha')
      scene.proxy.releaseRequests()
      await until(async () => (await scene.server.commandCount('evalsha')) > before, 'it arrives')
      for (const name of [key('resource'), `${key('resource')}:clients`]) {
        expect(await scene.server.call('PTTL', name)).toBeGreaterThan(lock.remaining())
      }
      expect(lock.remaining()).toBeGreaterThan(50_000)
      expect(await lock.unlock()).toBe(true)
    })

    it.each([
      ['itself', (_, lock) => lock.unlock()],
      ['the name of its resource', (locker) => locker.unlock('resource')],
    ])('has something to give up by %s after an extension of which no answer came', async (_, unlock) => {
      const locker = await connected(newLocker({ settings: { commandTimeout: 100 } }))
      const lock = await locker.lock('resource', { expire: 0.5 })
      await lock.extend(0.5)
      scene.proxy.swallowReplies()
      const extended = rejection(lock.extend(3600))
      await until(async () => (await scene.server.call('PTTL', key('resource'))) > 1000, 'it is extended')
      await extended
      await lossOf(lock)
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      expect(await unlock(locker, lock).catch(() => false)).toBe(false)
      await until(async () => !(await exists('resource')), 'it is given up')
    })

    it('that was taken away before anybody heard of its grant is asked for again', async () => {
      const locker = newLocker()
      const other = newLocker({ port: scene.server.port })
      await (await locker.lock('warm-up')).unlock()
      scene.proxy.holdReplies()
      const locking = Array.from({ length: 20 }, (_, index) => locker.lock(`resource ${index}`))
      for (const [index] of locking.entries()) {
        await until(() => exists(`resource ${index}`))
        await other.forceUnlock(`resource ${index}`)
      }
      await until(() => scene.proxy.heldReplies().split('lost ').length > locking.length, 'all are told')
      scene.proxy.releaseReplies()
      for (const lock of await Promise.all(locking)) {
        expect(lock.held).toBe(true)
        expect(await lock.unlock()).toBe(true)
      }
    })

    it('is asked about once after each reconnect, however many there are', async () => {
      const locker = newLocker()
      const names = Array.from({ length: 50 }, (_, index) => `resource ${index}`)
      const locks = await Promise.all(names.map((name) => locker.lock(name, { renew: true })))
      await scene.server.call('CONFIG', 'RESETSTAT')
      for (let round = 0; round < 10; round++) {
        scene.proxy.cut()
        await sleep(30)
      }
      await locker.isLocked('resource')
      expect(await scene.server.commandCount('evalsha')).toBeLessThanOrEqual(50 * 12)
      expect(locks.every((lock) => lock.held)).toBe(true)
    })

    it('does not hide the result of the work', async () => {
      const locker = newLocker({ settings: { commandTimeout: 200 } })
      const result = await locker.request('resource', { expire: 0.3 }, async (lock) => {
        scene.proxy.swallowReplies()
        const { reason } = await lossOf(lock)
        return `done, though ${reason}`
      })
      expect(result).toBe('done, though connection')
    })
  })

  describe('and a server that fails', () => {
    it('is lost at once when the server comes back empty, however long its lease', async () => {
      const locker = newLocker({ port: scene.server.port })
      const locks = [
        await locker.lock('a', { expire: 600 }),
        await locker.lock('b', { expire: 600, renew: true }),
      ]
      const losses = locks.map(lossOf)
      await scene.server.kill()
      expect(locks.map((lock) => lock.held)).toEqual([true, true])
      await scene.server.start()
      for (const loss of losses) expect(await loss).toMatchObject({ code: 'ERR_LOCK_LOST', reason: 'purged' })
    })

    it('is kept when its connection was killed', async () => {
      const locker = newLocker({ port: scene.server.port })
      const lock = await locker.lock('resource', { expire: 600 })
      const reconnected = new Promise((resolve) => {
        const diagnostics = require('node:diagnostics_channel')
        diagnostics.subscribe('lock-inc:reconnect', (message) => message.locker === locker && resolve())
      })
      await scene.server.call('CLIENT', 'KILL', 'TYPE', 'pubsub', 'SKIPME', 'yes')
      await scene.server.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await reconnected
      expect(await locker.isLocked('resource')).toBe(true)
      expect(lock.held).toBe(true)
      expect(await lock.unlock()).toBe(true)
    })

    it('is waited for through an outage with a timeout', async () => {
      await scene.server.kill()
      const locker = newLocker({ port: scene.server.port, settings: { commandTimeout: 100 } })
      const waiting = locker.lock('resource', { timeout: Number.POSITIVE_INFINITY, retryInterval: 10 })
      const limited = rejection(locker.lock('resource', { timeout: 300, retryInterval: 10 }))
      expect(await limited).toMatchObject({ code: 'ERR_CONNECTION' })
      await scene.server.start()
      expect((await waiting).held).toBe(true)
    })

    it.each([
      ['FLUSHALL', () => scene.server.call('FLUSHALL'), 'purged'],
      ['an unlock by lock-inc 1.2.0', () => scene.server.call('DEL', key('resource')), 'purged'],
      [
        'lock-inc 1.2.0, which takes the resource after deleting it',
        async () => {
          await scene.server.call('DEL', key('resource'))
          const old = oldLocker({ port: scene.server.port, prefix: scene.prefix })
          await old.lock('resource')
          old.close()
        },
        'stolen',
      ],
    ])('learns of %s at its next renewal', async (_, act, reason) => {
      const lock = await newLocker().lock('resource', { expire: 0.9, renew: true })
      const loss = lossOf(lock)
      await act()
      expect(await loss).toMatchObject({ reason })
      expect(await lock.unlock()).toBe(false)
    })

    it('is renewed again after the server has refused it for a while, on the same connection', async () => {
      await scene.server.call('ACL', 'SETUSER', 'barred', 'on', '>x', '~*', '&*', '+@all')
      const lock = await newLocker({ username: 'barred', password: 'x' }).lock('resource', {
        expire: 2,
        renew: true,
      })
      await scene.server.call('ACL', 'SETUSER', 'barred', '-evalsha', '-eval')
      await sleep(1000)
      await scene.server.call('ACL', 'SETUSER', 'barred', '+evalsha', '+eval')
      await sleep(1800)
      expect(lock.held).toBe(true)
    })

    it('is kept when an extension of it was refused', async () => {
      await scene.server.call('ACL', 'SETUSER', 'refused', 'on', '>x', '~*', '&*', '+@all')
      const lock = await newLocker({ username: 'refused', password: 'x' }).lock('resource', { expire: 30 })
      await scene.server.call('ACL', 'SETUSER', 'refused', '-evalsha', '-eval')
      expect(await rejection(lock.extend(1))).toMatchObject({ code: 'ERR_REDIS_NOPERM' })
      expect(lock.remaining()).toBeGreaterThan(20_000)
      await scene.server.call('ACL', 'SETUSER', 'refused', '+evalsha', '+eval')
      expect(await lock.unlock()).toBe(true)
    })

    it('is another one than the next of its name, where nobody has told that it was deleted', async () => {
      const locker = newLocker()
      const locks = []
      for (let index = 0; index < 3; index++) {
        await scene.server.call('DEL', key('resource'))
        locks.push(await locker.lock('resource'))
        // Nothing more is asked about it.
        await introduced(locker, 'resource')
      }
      const held = () => locks.map((lock) => lock.held)
      expect(held()).toEqual([true, true, true])
      expect(await locks[1].unlock()).toBe(false)
      expect(held()).toEqual([true, false, true])
      // The newest one first.
      expect(await locker.unlock('resource')).toBe(true)
      expect(held()).toEqual([true, false, false])
      expect(await locker.unlock('resource')).toBe(false)
      expect(held()).toEqual([false, false, false])
      for (const lock of locks) expect(() => lock.unlock()).toThrow('Not locked')
      expect(await locker.unlock('resource')).toBe(false)
    })

    it('learns at its extension that it was deleted', async () => {
      const lock = await newLocker().lock('resource')
      await scene.server.call('DEL', key('resource'))
      expect(await lock.extend(10)).toBe(false)
      expect(await lossOf(lock)).toMatchObject({ reason: 'purged' })
      expect(await scene.keys()).toEqual([`${scene.prefix}fence`])
    })

    it('does not make a storm of connections to a replica', async () => {
      const locker = newLocker({ retry_max_delay: 5000 })
      const names = Array.from({ length: 20 }, (_, index) => `resource ${index}`)
      await Promise.all(names.map((name) => locker.lock(name, { expire: 3, renew: true })))
      const connected = async () =>
        Number((await scene.server.call('INFO', 'stats')).match(/total_connections_received:(\d+)/)[1])
      const before = await connected()
      await scene.server.call('REPLICAOF', '127.0.0.1', '1')
      try {
        await sleep(2500)
        expect((await connected()) - before).toBeLessThan(10)
      } finally {
        await scene.server.call('REPLICAOF', 'NO', 'ONE')
      }
    })

    it('is renewed again after the server has refused a renewal for a while', async () => {
      const lock = await newLocker().lock('resource', { expire: 1.5, renew: true })
      await scene.server.call('REPLICAOF', '127.0.0.1', '1')
      await sleep(800)
      await scene.server.call('REPLICAOF', 'NO', 'ONE')
      await sleep(1500)
      expect(lock.held).toBe(true)
    })

    it('works without permission to subscribe and to publish; a purge is noticed at the next renewal', async () => {
      await scene.server.call(
        'ACL',
        'SETUSER',
        'quiet',
        'on',
        '>x',
        '~*',
        'resetchannels',
        '+@all',
        '-publish',
      )
      const config = { username: 'quiet', password: 'x' }
      const lock = await newLocker(config).lock('resource', { expire: 0.6, renew: true })
      await newLocker(config).purge()
      expect(await lossOf(lock)).toMatchObject({ reason: 'purged' })
    })
  })

  it('has its lease raised by no renewal after it was unlocked', async () => {
    const locker = newLocker()
    const cycle = async (index) => {
      const lock = await locker.lock(`resource ${index % 50}`, {
        expire: 0.03,
        renew: true,
        timeout: 20_000,
        retryInterval: 1,
      })
      await sleep(Math.random() * 30)
      await lock.unlock()
    }
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 50 }, (_, index) => cycle(index)))
    }
    // Whatever was under way has come by now. From here on, nothing is renewed and nothing is there.
    await locker.isLocked('resource')
    // Others have been told that nothing is held any more.
    const [number] = await scene.server.call('ZRANGE', `${scene.prefix}clients`, 0, -1)
    const listed = () => scene.server.call('HKEYS', `${scene.prefix}client:${number}:locks`)
    await until(async () => (await listed()).length === 0, 'nothing is listed, also of what was waited for')
    const before = await scene.server.commandCount('pexpire')
    expect(before).toBeGreaterThan(100)
    expect(await scene.server.keys(`${scene.prefix}*`)).toEqual([`${scene.prefix}fence`])
    await sleep(200)
    expect(await scene.server.commandCount('pexpire')).toBe(before)
    expect(await scene.server.keys(`${scene.prefix}*`)).toEqual([`${scene.prefix}fence`])
  })

  it('may be one of ten thousand that are renewed', async () => {
    // Past the proxy, which is in this process and would need more of it than they do.
    const locker = newLocker({ port: scene.server.port })
    const names = Array.from({ length: 10_000 }, (_, index) => `resource ${index}`)
    const locks = await Promise.all(names.map((name) => locker.lock(name, { expire: 6, renew: true })))
    // Without renewal, none is left by then.
    await sleep(7000)
    expect(locks.every((lock) => lock.held)).toBe(true)
    expect(await scene.server.call('EXISTS', ...names.map(key))).toBe(10_000)
    expect(new Set(await Promise.all(locks.map((lock) => lock.unlock())))).toEqual(new Set([true]))
  })

  it('guards a store, as the example shows', async () => {
    const example = path.join(__dirname, '../examples/fencing.js')
    const env = { ...process.env, REDIS_URL: `redis://127.0.0.1:${scene.server.port}` }
    const output = await new Promise((resolve, reject) => {
      execFile(process.execPath, [example], { env }, (error, stdout) =>
        error ? reject(error) : resolve(stdout),
      )
    })
    expect(output).toContain('refused')
  })
})
