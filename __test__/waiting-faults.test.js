'use strict'

const lockFactory = require('..')
const { oldLocker } = require('./support/lock-inc-1.2.0')
const { lossOf, redisScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

const timeout = Number.POSITIVE_INFINITY

// Calls that wait while something goes wrong, and what they cost while nothing does.
describe('calls that wait', () => {
  const scene = redisScene({ throughProxy: true })
  const { newLocker, waiting, key, keys, exists } = scene
  const direct = () => newLocker({ port: scene.server.port })
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

  /** Calls of several lockers, one behind the other, that unlock when they have had their turn. */
  async function queue(count, lockers, order = [], options = {}) {
    const calls = []
    for (let index = 0; index < count; index++) {
      const call = lockers[index % lockers.length].lock('resource', { timeout, ...options })
      calls.push(
        call.then(async (lock) => {
          order.push(index)
          expect(await lock.unlock()).toBe(true)
        }),
      )
      await waiting('resource', index + 1)
    }
    return calls
  }
  /** Waits until all who wait can be told of their turn. */
  const listening = () =>
    until(async () => {
      const { waiters } = await direct().inspect('resource')
      const channels = [...new Set(waiters.map(({ clientId }) => `${scene.prefix}client:${clientId}`))]
      const numbers = await scene.server.call('PUBSUB', 'NUMSUB', ...channels)
      return numbers.every((number, index) => index % 2 === 0 || number === 1)
    }, 'all have a connection')
  const inOrder = (count) => Array.from({ length: count }, (_, index) => index)

  describe('cost', () => {
    it('two commands for each lock, however many wait', async () => {
      const lockers = [direct(), direct(), direct(), direct()]
      const first = await direct().lock('resource')
      await Promise.all(
        lockers.map((locker) => locker.lock('warm-up', { timeout }).then((lock) => lock.unlock())),
      )
      const calls = await queue(40, lockers)
      const counts = async () =>
        Promise.all(['evalsha', 'eval'].map((name) => scene.server.commandCount(name)))
      const before = await counts()
      await first.unlock()
      await Promise.all(calls)
      // They have joined the queue with one command each; what is left is an unlock for each, and the first one.
      expect(await counts()).toEqual([before[0] + 41, before[1]])
    })

    it('nothing while the lease of the holder is long', async () => {
      const lockers = [direct(), direct()]
      await direct().lock('resource', { expire: 600 })
      const controller = new AbortController()
      const calls = Array.from({ length: 20 }, (_, index) =>
        lockers[index % 2].lock('resource', { timeout, signal: controller.signal }).catch(() => 'cancelled'),
      )
      await waiting('resource', 20)
      const total = async () =>
        Number((await scene.server.call('INFO', 'stats')).match(/total_commands_processed:(\d+)/)[1])
      const before = await total()
      await sleep(2500)
      // The two that ask.
      expect((await total()) - before).toBeLessThanOrEqual(2)
      controller.abort()
      await Promise.all(calls)
    })

    it('one poll of each process in five seconds, which also keeps the queue', async () => {
      const locker = direct()
      const lock = await direct().lock('resource', { expire: 600 })
      const calls = await queue(10, [locker])
      const before = await scene.server.commandCount('evalsha')
      await until(async () => (await scene.server.commandCount('evalsha')) > before, 'it polls')
      expect(await scene.server.call('PTTL', `${key('resource')}:queue`)).toBeGreaterThan(14_000)
      await sleep(1000)
      expect((await scene.server.commandCount('evalsha')) - before).toBe(1)
      await lock.unlock()
      await Promise.all(calls)
    })
  })

  describe('and a lock that is handed over', () => {
    it('has a short lease first and the whole one soon, and leaves the waiters no time without a holder', async () => {
      const [first, second] = [await direct().lock('resource'), direct()]
      const call = second.lock('resource', { timeout, expire: 8 })
      await waiting('resource', 1)
      await first.unlock()
      const lock = await call
      const granted = performance.now()
      expect(await scene.server.call('PTTL', key('resource'))).toBeLessThanOrEqual(5000)
      await until(async () => (await scene.server.call('PTTL', key('resource'))) > 5500, 'it has the rest')
      expect(lock.remaining()).toBeGreaterThan(5000)
      // In all, what was asked for.
      expect((await lossOf(lock)).reason).toBe('expired')
      const held = performance.now() - granted
      expect(held).toBeGreaterThan(7500)
      expect(held).toBeLessThan(8100)
    })

    it('has its whole lease also when its locker is closed at once', async () => {
      const first = await direct().lock('resource')
      const closing = direct()
      const call = closing.lock('resource', { timeout, expire: 60 })
      await waiting('resource', 1)
      await first.unlock()
      const lock = await call
      await closing.close()
      expect(await scene.server.call('PTTL', key('resource'))).toBeGreaterThan(50_000)
      expect(lock.remaining()).toBeGreaterThan(50_000)
    })

    it('is announced in a message of the form that the protocol has', async () => {
      const listener = scene.server.client()
      const messages = []
      listener.on('pmessage', (_pattern, channel, message) => messages.push([channel, message]))
      await listener.call('PSUBSCRIBE', `${scene.prefix}client:*`)
      const first = await direct().lock('resource')
      const call = direct().lock('resource', { timeout, expire: 2 })
      await waiting('resource', 1)
      const { clientId } = (await direct().inspect('resource')).waiters[0]
      await first.unlock()
      const { token } = await call
      await until(() => messages.length > 0)
      const [channel, message] = messages[0]
      expect(channel).toBe(`${scene.prefix}client:${clientId}`)
      const [kind, nonce, ...rest] = message.split(' ')
      expect([kind, nonce]).toEqual(['grant', expect.stringMatching(/^[\w-]{22}$/)])
      expect(rest).toEqual([String(token), expect.stringMatching(/^\d{16}$/), '2000', key('resource')])
    })
  })

  describe('keep their places, and have their turns', () => {
    it('when connections are cut', async () => {
      const lockers = [newLocker(), newLocker(), newLocker()]
      const lock = await direct().lock('resource', { expire: 600 })
      const order = []
      const calls = await queue(9, lockers, order)
      for (let round = 0; round < 5; round++) {
        scene.proxy.cut()
        await sleep(30)
      }
      await waiting('resource', 9)
      await listening()
      await lock.unlock()
      await Promise.all(calls)
      expect(order).toEqual(inOrder(9))
    })

    it('when they come while there is no connection, or before the first one', async () => {
      const lock = await direct().lock('resource', { expire: 600 })
      const locker = newLocker()
      scene.proxy.swallowReplies()
      const call = locker.lock('resource', { timeout })
      await sleep(100)
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      await waiting('resource', 1)
      await lock.unlock()
      expect((await call).held).toBe(true)
    })

    it('when the reply is lost that has put them into the queue', async () => {
      const lock = await direct().lock('resource', { expire: 600 })
      const locker = newLocker()
      await locker.isLocked('warm-up')
      scene.proxy.swallowReplies()
      const call = locker.lock('resource', { timeout })
      await waiting('resource', 1)
      const behind = direct().lock('resource', { timeout })
      await waiting('resource', 2)
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      await listening()
      expect((await direct().inspect('resource')).waiters).toHaveLength(2)
      await lock.unlock()
      const { unlock } = await call
      await unlock()
      await behind
    })

    it('when the message of their turn is lost', async () => {
      const locker = newLocker()
      const lock = await direct().lock('resource', { expire: 2 })
      const calls = await queue(2, [locker])
      scene.proxy.dropMessages()
      const start = performance.now()
      await lock.unlock()
      // The poll finds it, and the next one has its turn by an answer.
      await Promise.all(calls)
      expect(performance.now() - start).toBeGreaterThan(500)
      expect(await keys()).toEqual([`${scene.prefix}fence`])
    })

    it('when the connection is cut just as their turn comes', async () => {
      const locker = newLocker()
      const lock = await direct().lock('resource', { expire: 600 })
      const calls = await queue(3, [locker])
      scene.proxy.swallowReplies()
      await lock.unlock()
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      await Promise.all(calls)
    })

    it('when the reply of the unlock is lost that hands over to the same locker', async () => {
      const locker = newLocker()
      const lock = await locker.lock('resource', { expire: 600 })
      const calls = await queue(3, [locker])
      scene.proxy.swallowReplies()
      const unlocking = lock.unlock()
      await until(async () => (await direct().inspect('resource')).holders[0].token !== lock.token)
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      expect(await unlocking).toBe(true)
      await Promise.all(calls)
    })

    it('when the server forgets everything', async () => {
      const lockers = [direct(), direct(), direct()]
      const lock = await direct().lock('resource', { expire: 600 })
      const calls = await queue(30, lockers)
      await scene.server.call('FLUSHALL')
      await scene.server.call('SCRIPT', 'FLUSH')
      await Promise.all(calls)
      expect(await lock.unlock()).toBe(false)
      expect(await keys()).toEqual([`${scene.prefix}fence`])
    })

    it('when the server is started anew with nothing in it', async () => {
      const lockers = [direct(), direct(), direct()]
      const lock = await direct().lock('resource', { expire: 600 })
      const loss = lossOf(lock)
      const calls = await queue(30, lockers)
      await scene.server.kill()
      await scene.server.start()
      await Promise.all(calls)
      expect((await loss).reason).toMatch(/purged|stolen/)
      await until(async () => (await keys()).length === 1, 'nothing is left')
    })

    it('when their key in the queue is gone, as after an eviction', async () => {
      const lock = await direct().lock('resource', { expire: 2 })
      const calls = await queue(6, [direct(), direct()])
      await scene.server.call('DEL', `${key('resource')}:queue`)
      await lock.unlock()
      await Promise.all(calls)
    })
  })

  describe('beside lock-inc 1.2.0', () => {
    let old

    beforeEach(() => {
      old = oldLocker({ port: scene.server.port, prefix: scene.prefix })
    })

    afterEach(() => old.close())

    it('ask again every retryInterval while it holds the lock, as its unlock tells nobody', async () => {
      await old.lock('resource')
      const order = []
      const calls = await queue(4, [direct(), direct()], order, { retryInterval: 20 })
      const before = await scene.server.commandCount('evalsha')
      await until(async () => (await scene.server.commandCount('evalsha')) > before + 10, 'they ask')
      expect(order).toEqual([])
      await old.unlock('resource')
      await Promise.all(calls)
      expect(order).toEqual(inOrder(4))
    })

    it('wait for the end of its lease, too', async () => {
      await old.lock('resource', { expire: 1 })
      const [call] = await queue(1, [direct()], [], { retryInterval: 5000 })
      await call
    })

    it('mend what is left of one that died before it could set the lease', async () => {
      await old.lockAndDie('resource')
      const [call] = await queue(1, [direct()], [], { retryInterval: 20, expire: 0.5 })
      await call
    })

    it('put up with its coming in between, and go on after it', async () => {
      const lock = await direct().lock('resource', { expire: 600 })
      const order = []
      const calls = await queue(2, [direct()], order, { retryInterval: 20 })
      // It deletes our lock and takes it.
      await old.unlock('resource')
      expect(await old.lock('resource')).toBe(1)
      await until(async () => (await direct().inspect('resource')).holders[0].clientId === null)
      expect(order).toEqual([])
      await until(async () => {
        await old.unlock('resource')
        return order.length === 2
      })
      await Promise.all(calls)
      expect(await lock.unlock()).toBe(false)
    })
  })

  describe('are told', () => {
    it('apart, that somebody holds the lock and that Redis cannot be reached', async () => {
      const lock = await direct().lock('resource', { expire: 600 })
      const locker = newLocker()
      const locked = await rejection(locker.lock('resource', { timeout: 300 }))
      expect(locked).toMatchObject({
        code: 'ERR_RESOURCE_LOCKED',
        position: 1,
        holder: { token: lock.token },
      })
      const unreachable = rejection(locker.lock('resource', { timeout: 900 }))
      await waiting('resource', 1)
      scene.proxy.swallowReplies()
      const start = performance.now()
      expect(await unreachable).toMatchObject({ code: 'ERR_CONNECTION', resourceId: 'resource' })
      expect(performance.now() - start).toBeLessThan(2000)
      scene.proxy.forwardReplies()
      scene.proxy.cut()
      await waiting('resource', 0)
    })

    it('within their timeout when there has never been a connection', async () => {
      const { port } = scene.proxy
      await scene.proxy.close()
      const locker = newLocker({ port })
      const start = performance.now()
      const error = await rejection(locker.lock('resource', { timeout: 200 }))
      expect(error).toMatchObject({ code: 'ERR_CONNECTION', cause: { code: 'ECONNREFUSED' } })
      expect(error.message).toContain('within 200 ms')
      expect(performance.now() - start).toBeLessThan(2000)
    })

    it('when the server will have none of it any more', async () => {
      const lock = await direct().lock('resource', { expire: 600 })
      const calls = [1, 2].map(() => rejection(direct().lock('resource', { timeout })))
      await waiting('resource', 2)
      await scene.server.call('DEL', `${key('resource')}:queue`)
      await scene.server.call('SET', `${key('resource')}:queue`, 'of somebody else')
      for (const error of await Promise.all(calls)) expect(error.code).toBe('ERR_REDIS_WRONGTYPE')
      expect(await lock.unlock()).toBe(true)
      await scene.server.call('DEL', `${key('resource')}:queue`)
    })

    it('when memory is short, and the lock is free all the same', async () => {
      const lock = await direct().lock('resource', { expire: 2 })
      const call = rejection(direct().lock('resource', { timeout }))
      await waiting('resource', 1)
      await scene.server.call('CONFIG', 'SET', 'maxmemory', 1)
      expect(await lock.unlock()).toBe(true)
      expect(await exists('resource')).toBe(false)
      expect((await call).code).toBe('ERR_REDIS_OOM')
      await scene.server.call('CONFIG', 'SET', 'maxmemory', 0)
    })
  })

  describe('with an ACL', () => {
    const user = async (...rules) => {
      await scene.server.call('ACL', 'SETUSER', 'waiter', 'reset', 'on', '>x', '~*', '&*', '+@all', ...rules)
      return { port: scene.server.port, username: 'waiter', password: 'x' }
    }

    it('that forbids the channel have their turns by asking', async () => {
      const config = await user('resetchannels')
      const lock = await direct().lock('resource', { expire: 600 })
      const calls = await queue(4, [newLocker(config), newLocker(config)], [], { retryInterval: 20 })
      await lock.unlock()
      await Promise.all(calls)
      expect(await keys()).toEqual([`${scene.prefix}fence`])
    })

    it('that forbids some to subscribe have their turns in order beside those who hear', async () => {
      const config = await user('-subscribe')
      const deaf = newLocker(config)
      const lock = await direct().lock('resource', { expire: 600 })
      const order = []
      const calls = await queue(6, [deaf, direct()], order, { retryInterval: 20 })
      await lock.unlock()
      await Promise.all(calls)
      expect(order).toEqual(inOrder(6))
    })

    it('that forbids to publish have their turns at the next poll', async () => {
      const config = await user('-publish')
      const lock = await newLocker(config).lock('resource', { expire: 600 })
      const calls = await queue(2, [newLocker(config)])
      await lock.unlock()
      await Promise.all(calls)
    })
  })

  it('hear of their turns although the server was busy when they connected', async () => {
    const lock = await direct().lock('resource', { expire: 600 })
    await scene.server.call('CONFIG', 'SET', 'lua-time-limit', 10)
    const busy = scene.server.client()
    const spinning = busy.call('EVAL', 'while true do end', 0).catch(() => 'killed')
    await until(
      () =>
        scene.server.call('PING').then(
          () => false,
          (error) => /BUSY/.test(error.message),
        ),
      'it is busy',
    )
    const call = direct().lock('resource', { timeout })
    await sleep(300)
    await scene.server.call('SCRIPT', 'KILL')
    await spinning
    await waiting('resource', 1)
    await listening()
    await lock.unlock()
    expect((await call).held).toBe(true)
  })

  it('keep their places whatever their retryInterval is', async () => {
    const old = oldLocker({ port: scene.server.port, prefix: scene.prefix })
    await old.lock('resource')
    const call = direct().lock('resource', { timeout, retryInterval: 60_000 })
    await waiting('resource', 1)
    const queueLeft = () => scene.server.call('PTTL', `${key('resource')}:queue`)
    await until(async () => (await queueLeft()) < 14_000)
    await until(async () => (await queueLeft()) > 14_000, 'it gives a sign of life')
    await old.unlock('resource')
    expect(await direct().tryLock('resource')).toBeNull()
    expect((await call).held).toBe(true)
    await old.close()
  })

  it('are not given up for the time that a slow network takes', async () => {
    const locker = newLocker()
    await locker.lock('resource')
    scene.proxy.delay = 60
    const error = await rejection(locker.lock('resource', { timeout: 1000 }))
    expect(error).toMatchObject({ code: 'ERR_RESOURCE_LOCKED', position: 1 })
  })

  it('for less than a slow network takes come to an end', async () => {
    const lock = await direct().lock('resource', { expire: 600 })
    const locker = newLocker()
    await locker.isLocked('warm-up')
    scene.proxy.delay = 60
    const short = locker.lock('resource', { timeout, expire: 0.1 })
    await waiting('resource', 1)
    const next = direct().lock('resource', { timeout })
    await waiting('resource', 2)
    await lock.unlock()
    expect((await short).held).toBe(false)
    expect((await next).held).toBe(true)
  })

  it('that were never sent are not followed up', async () => {
    await scene.server.kill()
    const locker = direct()
    const calls = Array.from({ length: 50 }, () => rejection(locker.lock('resource', { timeout: 50 })))
    for (const error of await Promise.all(calls)) expect(error.code).toBe('ERR_CONNECTION')
    await scene.server.start()
    await locker.isLocked('resource')
    await sleep(300)
    expect(await scene.server.commandCount('evalsha')).toBe(0)
  })

  it('leave no trace when they are cancelled while a lost queue is made anew', async () => {
    const [locker, holder] = [newLocker(), direct()]
    const lock = await holder.lock('resource', { expire: 2 })
    const controller = new AbortController()
    const { signal } = controller
    const calls = Array.from({ length: 1000 }, () =>
      locker.lock('resource', { timeout, signal }).catch(() => 0),
    )
    await waiting('resource', 1000)
    await scene.server.call('DEL', `${key('resource')}:queue`)
    scene.proxy.delay = 20
    // The poll at the end of the lease finds that the queue is gone.
    await until(async () => (await scene.server.call('ZCARD', `${key('resource')}:queue`)) > 1)
    controller.abort()
    // One of them has had its turn.
    for (const granted of (await Promise.all(calls)).filter(Boolean)) await granted.unlock()
    await until(async () => (await holder.inspect('resource')) === null, 'nothing is left')
    expect(await lock.unlock()).toBe(false)
  })

  it('do not leave traces of clients that have gone, in a queue that is never empty', async () => {
    const lock = await direct().lock('resource', { expire: 600 })
    const controller = new AbortController()
    const stays = direct()
      .lock('resource', { timeout, signal: controller.signal })
      .catch(() => 0)
    await waiting('resource', 1)
    const alive = `${key('resource')}:alive`
    for (let index = 0; index < 60; index++) {
      // As a client that was here a while ago, and has left.
      await scene.server.call('HSET', alive, `client${index}`, Date.now() - 1000)
    }
    const before = await scene.server.commandCount('evalsha')
    await until(async () => (await scene.server.commandCount('evalsha')) > before, 'it polls')
    expect(await scene.server.call('HLEN', alive)).toBe(1)
    controller.abort()
    await stays
    await lock.unlock()
  })

  it('have a queue that ends, whatever becomes of its keys', async () => {
    const lock = await direct().lock('resource', { expire: 600 })
    const calls = [direct().lock('resource', { timeout })]
    await waiting('resource', 1)
    await scene.server.call('DEL', `${key('resource')}:queue`)
    calls.push(direct().lock('resource', { timeout }))
    await until(async () => (await scene.server.call('EXISTS', `${key('resource')}:queue`)) === 1)
    expect(await scene.server.call('PTTL', `${key('resource')}:queue`)).toBeGreaterThan(0)
    await lock.unlock()
    await Promise.all(calls.map(async (call) => (await call).unlock()))
  })

  it('do not hurt others, even where ten thousand of one process want the same', async () => {
    const [locker, holder] = [direct(), direct()]
    const lock = await holder.lock('hot', { expire: 600 })
    const count = 10_000
    let turns = 0
    const calls = Array.from({ length: count }, async () => {
      const { unlock } = await locker.lock('hot', { timeout })
      turns++
      await unlock()
    })
    await waiting('hot', count)
    const before = await scene.server.commandCount('evalsha')
    const cpu = process.cpuUsage()
    await sleep(1000)
    const { user, system } = process.cpuUsage(cpu)
    // Nobody is busy with waiting.
    expect(user + system).toBeLessThan(500_000)
    expect((await scene.server.commandCount('evalsha')) - before).toBeLessThanOrEqual(2)
    const start = performance.now()
    for (let round = 0; round < 100; round++) await (await locker.lock(`other ${round}`)).unlock()
    // Each takes less than a millisecond where nobody waits.
    expect(performance.now() - start).toBeLessThan(2000)
    await lock.unlock()
    await Promise.all(calls)
    expect(turns).toBe(count)
    expect(await keys()).toEqual([`${scene.prefix}fence`])
  })

  it('leave the queue in their thousands when their locker is closed', async () => {
    const locker = direct()
    await direct().lock('resource', { expire: 600 })
    const calls = Array.from({ length: 3000 }, () => rejection(locker.lock('resource', { timeout })))
    await waiting('resource', 3000)
    await locker.close()
    for (const error of await Promise.all(calls)) expect(error).toBeInstanceOf(lockFactory.ClosedError)
    await waiting('resource', 0)
    expect(await scene.server.call('EXISTS', `${key('resource')}:queue`, `${key('resource')}:alive`)).toBe(0)
  })
})
