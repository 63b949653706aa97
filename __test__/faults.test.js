'use strict'

const lockFactory = require('..')
const { runNode } = require('./support/child')
const { oldLocker } = require('./support/lock-inc-1.2.0')
const { FaultyProxy } = require('./support/proxy')
const { connected, redisScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

// Lost replies, silent networks, servers that go away and come back.
describe('when something goes wrong', () => {
  const scene = redisScene({ throughProxy: true })
  const { newLocker, key, exists } = scene

  describe('a lock whose reply is lost', () => {
    it('is recognised as our own when the connection is back', async () => {
      const locker = newLocker()
      await locker.lock('warm-up')
      scene.proxy.swallowReplies()
      const locking = locker.lock('resource')
      await until(() => exists('resource'), 'Redis has granted the lock')
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      const lock = await locking
      // Not even counted twice.
      expect(await scene.server.call('GET', key('resource'))).toMatch(/000001$/)
      expect(await lock.unlock()).toBe(true)
    })

    it('is recognised where only some of those have an answer that were called with it', async () => {
      const locker = newLocker()
      await locker.lock('warm-up')
      const names = Array.from({ length: 20 }, (_, index) => `resource ${index}`)
      const reply = ':1234567890123456\r\n'
      scene.proxy.holdReplies()
      const locking = names.map((name) => locker.lock(name))
      await until(async () => (await Promise.all(names.map(exists))).every(Boolean), 'all are granted')
      scene.proxy.cutReplies(reply.length * 10.5)
      for (const lock of await Promise.all(locking)) {
        expect(await scene.server.call('GET', key(lock.resourceId))).toMatch(/000001$/)
        expect(await lock.unlock()).toBe(true)
      }
    })

    it('leaves nothing behind, whenever the connection breaks', async () => {
      const locker = newLocker({ settings: { commandTimeout: 1000 } })
      for (let round = 0; round < 8; round++) {
        // So that what follows need only count.
        await (await locker.lock('before')).unlock()
        scene.proxy.swallowReplies()
        const locking = locker.lock('resource').catch((error) => error)
        await until(() => exists('resource'), 'Redis has granted the lock')
        await new Promise((resolve) => setTimeout(resolve, 140 * round))
        scene.proxy.forwardReplies()
        scene.proxy.cut()
        const lock = await locking
        if (lock instanceof Error) expect(lock.code).toBe('ERR_CONNECTION')
        else expect(await lock.unlock()).toBe(true)
        await until(async () => !(await exists('resource')), 'it is given up')
        await connected(locker)
      }
    })

    it('is cancelled in the background when the caller has been told of a failure', async () => {
      const locker = newLocker({ settings: { commandTimeout: 200 } })
      await locker.lock('warm-up')
      scene.proxy.swallowReplies()
      const failing = rejection(locker.lock('resource'))
      await until(() => exists('resource'), 'Redis has granted the lock')
      const error = await failing
      expect(error).toMatchObject({ name: 'ConnectionError', code: 'ERR_CONNECTION', resourceId: 'resource' })
      expect(error.message).toMatch(/did not answer within 200 ms/)
      scene.proxy.forwardReplies()
      await until(async () => !(await exists('resource')), 'the ghost is gone')
      expect(await scene.server.call('EXISTS', `${key('resource')}:clients`)).toBe(0)
    })
  })

  describe('a lock whose connection was lost before the reply', () => {
    const granted = async (locker) => {
      await locker.lock('warm-up')
      scene.proxy.swallowReplies()
      const failing = rejection(locker.lock('resource'))
      await until(() => exists('resource'), 'Redis has granted the lock')
      return failing
    }

    it('is cancelled when calls may not wait for a connection', async () => {
      const locker = newLocker({ enable_offline_queue: false, retry_max_delay: 10 })
      await until(
        () =>
          locker.isLocked('a').then(
            () => true,
            () => false,
          ),
        'it is connected',
      )
      const failing = granted(locker)
      await until(() => exists('resource'))
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      expect(await failing).toMatchObject({ code: 'ERR_CONNECTION' })
      await until(async () => !(await exists('resource')), 'the ghost is gone')
    })

    it('is cancelled when the server refuses us from then on, as soon as it no longer does', async () => {
      await scene.server.call('ACL', 'SETUSER', 'ghost', 'on', '>x', '~*', '&*', '+@all')
      const locker = newLocker({ username: 'ghost', password: 'x', retry_max_delay: 10 })
      const failing = granted(locker)
      await until(() => exists('resource'))
      await scene.server.call('ACL', 'SETUSER', 'ghost', 'resetpass', '>y')
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      expect(await failing).toMatchObject({ code: 'ERR_REDIS_WRONGPASS' })
      await scene.server.call('ACL', 'SETUSER', 'ghost', 'resetpass', '>x')
      await until(async () => !(await exists('resource')), 'the ghost is gone')
    })
  })

  it('a timeout over a slow network leaves no ghost', async () => {
    const locker = newLocker()
    const other = newLocker({ port: scene.server.port })
    await locker.lock('warm-up')
    await other.lock('warm-up, too')
    scene.proxy.delay = 20
    for (let round = 0; round < 5; round++) {
      const held = await other.lock(`resource ${round}`)
      // The last attempt has some 30 ms, and its grant takes 40.
      const waiting = locker
        .lock(`resource ${round}`, { timeout: 270, retryInterval: 200 })
        .catch(() => undefined)
      await until(async () => (await other.inspect(`resource ${round}`)).count > 1, 'the first attempt')
      await held.unlock()
      const lock = await waiting
      if (lock) await lock.unlock()
      await until(async () => !(await exists(`resource ${round}`)), 'nothing is left')
    }
  })

  it.each(['abort', 'close'])(
    '%s while an attempt of unknown outcome waits to be repeated leaves no ghost',
    async (how) => {
      const locker = await connected(newLocker({ settings: { commandTimeout: 100 } }))
      scene.proxy.swallowReplies()
      const controller = new AbortController()
      const endless = {
        timeout: Number.POSITIVE_INFINITY,
        retryInterval: 1_000_000,
        signal: controller.signal,
      }
      const waiting = rejection(locker.lock('resource', endless))
      await until(() => exists('resource'), 'Redis has granted the lock')
      // By then the attempt has failed, and the pause has begun.
      await new Promise((resolve) => setTimeout(resolve, 300))
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      await until(
        () =>
          locker.isLocked('resource').then(
            () => true,
            () => false,
          ),
        'it is connected',
      )
      if (how === 'abort') controller.abort()
      else await locker.close()
      await waiting
      await until(async () => !(await exists('resource')), 'the ghost is gone')
    },
  )

  it('calls with little time do not cost the others their connection', async () => {
    const locker = newLocker()
    await locker.lock('warm-up')
    const connections = async () =>
      (await scene.server.call('CLIENT', 'LIST')).match(/id=\d+ .*name=lock-inc:/g).join()
    const before = await connections()
    // An answer does not come in time, also where the machine is so busy that nobody sees for long that the time is over.
    scene.proxy.delay = 150
    for (let round = 0; round < 10; round++) {
      await rejection(locker.lock(`resource ${round}`, { timeout: 5 }))
    }
    await locker.isLocked('resource')
    expect(await connections()).toBe(before)
    scene.proxy.delay = 0
    await until(async () => (await scene.keys()).length === 3, 'the ghosts are gone')
  })

  it('an unlock whose reply is lost is still true when the server has forgotten the scripts meanwhile', async () => {
    const locker = newLocker()
    await (await locker.lock('resource')).unlock()
    const lock = await locker.lock('resource')
    scene.proxy.swallowReplies()
    const unlocking = lock.unlock()
    await until(async () => !(await exists('resource')), 'Redis has freed the resource')
    await scene.server.call('SCRIPT', 'FLUSH')
    scene.proxy.forwardReplies()
    scene.proxy.cut()
    expect(await unlocking).toBe(true)
  })

  it('an unlock whose reply is lost still resolves to true', async () => {
    const locker = newLocker()
    // The first time, the script itself is sent after an answer that says that it is not known.
    await (await locker.lock('resource')).unlock()
    const lock = await locker.lock('resource')
    scene.proxy.swallowReplies()
    const unlocking = lock.unlock()
    await until(async () => !(await exists('resource')), 'Redis has freed the resource')
    scene.proxy.forwardReplies()
    scene.proxy.cut()
    expect(await unlocking).toBe(true)
  })

  describe('a forced unlock whose reply is lost takes nothing', () => {
    /** Its answer is lost; `meanwhile` goes on between its first sending and the second. */
    async function sendTwice(meanwhile) {
      const locker = newLocker()
      // The first time, the script itself is sent after an answer that says that it is not known.
      await locker.forceUnlock('warm-up')
      scene.proxy.holdReplies()
      const forcing = locker.forceUnlock('resource')
      await until(() => scene.proxy.heldReplies() !== '', 'it is known who holds the resource')
      scene.proxy.passHeld()
      await until(async () => !(await exists('resource')), 'Redis has freed the resource')
      const result = await meanwhile()
      scene.proxy.cutReplies(0)
      expect(await forcing).toBe(true)
      return result
    }

    it('from whoever came next', async () => {
      const other = newLocker({ port: scene.server.port })
      // Who it is is known from then on.
      await other.lock('warm-up')
      const held = await other.lock('resource')
      const next = await sendTwice(() => other.lock('resource'))
      expect(await scene.server.call('GET', key('resource'))).toMatch(/000001$/)
      expect(next.held).toBe(true)
      await until(() => !held.held)
      expect(await next.unlock()).toBe(true)
    })

    it('from the second of two old clients, if the first had been tried more often', async () => {
      const old = oldLocker({ port: scene.server.port, prefix: scene.prefix })
      try {
        await old.lock('resource')
        await old.lock('resource')
        expect(await sendTwice(() => old.lock('resource'))).toBe(1)
        expect(await exists('resource')).toBe(true)
      } finally {
        await old.close()
      }
    })
  })

  it('an unlock that could not be sent is done in the background', async () => {
    const locker = newLocker({ settings: { commandTimeout: 1000 }, retry_max_delay: 50 })
    const lock = await locker.lock('resource')
    const { port } = scene.proxy
    await scene.proxy.close()
    expect(await rejection(lock.unlock())).toMatchObject({
      code: 'ERR_CONNECTION',
      cause: { code: 'ECONNREFUSED' },
    })
    expect(await exists('resource')).toBe(true)
    scene.proxy = await FaultyProxy.to(scene.server.port, port)
    await until(async () => !(await exists('resource')), 'the lock is given up')
  })

  it('a connection that has gone silent is replaced within the deadline', async () => {
    const locker = newLocker({ settings: { commandTimeout: 2000 } })
    await locker.isLocked('resource')
    scene.proxy.silenceCurrent()
    const _lock = await locker.lock('resource')
    expect(await scene.server.call('GET', key('resource'))).toMatch(/000001$/)
  })

  it('calls in flight survive that every connection is killed, again and again', async () => {
    const locker = newLocker({ retry_max_delay: 20 })
    let killing = true
    const killer = (async () => {
      while (killing) {
        await scene.server.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        await new Promise((resolve) => setTimeout(resolve, 7))
      }
    })()
    const worker = async (index) => {
      for (let round = 0; round < 30; round++) {
        const lock = await locker.lock(`resource ${index}`)
        expect(await lock.unlock()).toBe(true)
      }
    }
    await Promise.all(Array.from({ length: 10 }, (_, index) => worker(index)))
    killing = false
    await killer
    expect(await scene.server.keys(`${scene.prefix}*`)).toEqual([`${scene.prefix}fence`])
  })

  describe('a server that is away', () => {
    it('is waited for until the deadline; the error says what is wrong', async () => {
      await scene.server.kill()
      const locker = newLocker({ port: scene.server.port, settings: { commandTimeout: 150 } })
      for (const call of [() => locker.lock('a'), () => locker.isLocked('a'), () => locker.purge()]) {
        const error = await rejection(call())
        expect(error).toBeInstanceOf(lockFactory.ConnectionError)
        expect(error.message).toContain(
          `Redis at 127.0.0.1:${scene.server.port} could not be reached within 150 ms`,
        )
        expect(error.cause).toMatchObject({ code: 'ECONNREFUSED' })
      }
      await scene.server.start()
      await until(() => locker.lock('a').catch(() => false), 'the locker has recovered')
    })

    it('is waited for by calls that were made before it came', async () => {
      await scene.server.kill()
      const locker = newLocker({ port: scene.server.port, retry_max_delay: 50 })
      const locking = locker.lock('a')
      const asking = locker.isLocked('b')
      await scene.server.start()
      expect((await locking).resourceId).toBe('a')
      expect(await asking).toBe(false)
    })

    it('that restarts empty gives greater tokens, and late unlocks answer false', async () => {
      const locker = newLocker({ port: scene.server.port, retry_max_delay: 50 })
      const lock = await locker.lock('a')
      await scene.server.kill()
      await scene.server.start()
      const next = await locker.lock('a')
      expect(next.token).toBeGreaterThan(lock.token)
      expect(await lock.unlock()).toBe(false)
      expect(await next.unlock()).toBe(true)
    })

    it('does not keep close waiting', async () => {
      await scene.server.kill()
      const locker = newLocker({ port: scene.server.port })
      const locking = rejection(locker.lock('a'))
      await locker.close()
      expect(await locking).toBeInstanceOf(lockFactory.ClosedError)
      await scene.server.start()
    })

    it('crashes nobody and leaves no rejection unhandled', async () => {
      const { child, messages, ended } = runNode(
        `
        process.on('unhandledRejection', (error) => tell({ unhandled: error.message }))
        const locker = lockFactory({ driver: 'redis', config: { port: args.port }, settings: { prefix: args.prefix } })
        locker.lock('held', { expire: 600 }).then(() => tell('held'))
        process.stdin.on('data', () => process.exit(0))
        `,
        { port: scene.server.port, prefix: scene.prefix },
      )
      await until(() => messages.includes('held'))
      await scene.server.kill()
      await scene.server.start()
      await until(
        async () => (await scene.server.call('CLIENT', 'LIST')).includes('name=lock-inc:'),
        'it is back',
      )
      child.stdin.write('end')
      expect(await ended).toEqual({ code: 0, signal: null, stderr: '', messages: ['held'] })
    })
  })
})
