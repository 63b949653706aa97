'use strict'

const lockFactory = require('..')
const { oldLocker } = require('./support/lock-inc-1.2.0')
const { queueing, sleep } = require('./support/queueing')
const { introduced, lossOf, redisScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

// What calls that wait cost, what they get, and what they leave behind.
describe('calls that wait', () => {
  const scene = redisScene({ throughProxy: true })
  const { newLocker, waiting, key, keys } = scene
  const { direct, queue, listening, timeout } = queueing(scene)

  /** So many lockers have told those who list it that they hold or wait for something. */
  async function told(count) {
    const telling = () => scene.server.call('ZCARD', `${scene.prefix}clients`)
    await until(async () => (await telling()) === count, `${count} have told`)
  }

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
      // A younger lock has to find out that somebody has come: that would be one more.
      await introduced(lockers[0], 'resource')
      await told(lockers.length + 1)
      const before = await counts()
      await first.unlock()
      await Promise.all(calls)
      // They have joined the queue with one command each; what is left is an unlock for each, and the first one. That this
      // is over may have been told as well.
      const after = await counts()
      expect([41, 42]).toContain(after[0] - before[0])
      expect(after[1] - before[1]).toBeLessThanOrEqual(1)
    })

    it('nothing while the lease of the holder is long', async () => {
      const lockers = [direct(), direct()]
      await direct().lock('resource', { expire: 600 })
      await introduced(direct(), 'resource')
      const controller = new AbortController()
      const calls = Array.from({ length: 20 }, (_, index) =>
        lockers[index % 2].lock('resource', { timeout, signal: controller.signal }).catch(() => 'cancelled'),
      )
      await waiting('resource', 20)
      await told(3)
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

  it('give up together where their time is over together, however many they are', async () => {
    const [holder, locker] = [direct(), direct()]
    await holder.lock('resource', { expire: 600 })
    const looks = await scene.server.commandCount('evalsha')
    const calls = Array.from({ length: 2000 }, () => locker.tryLock('resource', { timeout: 2000 }))
    expect(new Set(await Promise.all(calls))).toEqual(new Set([null]))
    // They have joined the queue with one command each. What else they ask is far less than that.
    expect((await scene.server.commandCount('evalsha')) - looks).toBeLessThan(2000 + 200)
    expect((await holder.inspect('resource')).waiters).toEqual([])
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
      await until(() => lock.remaining() > 5000, 'its holder knows')
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
      expect([kind, nonce]).toEqual(['grant', expect.stringMatching(/^\d{13}$/)])
      expect(rest).toEqual([String(token), expect.stringMatching(/^\d{16}$/), '2000', key('resource')])
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
    const short = rejection(locker.lock('resource', { timeout, expire: 0.1 }))
    await waiting('resource', 1)
    const next = direct().lock('resource', { timeout })
    await waiting('resource', 2)
    await lock.unlock()
    expect((await next).held).toBe(true)
    await (await next).unlock()
    // Each of its leases is over when it hears of it, also if nobody else wants the lock.
    expect((await short).message).toContain('too late')
  })

  it('that were never sent are not followed up', async () => {
    await scene.server.kill()
    const locker = direct()
    const calls = Array.from({ length: 50 }, () => rejection(locker.lock('resource', { timeout: 50 })))
    for (const error of await Promise.all(calls)) expect(error.code).toBe('ERR_CONNECTION')
    await scene.server.start()
    await locker.isLocked('resource')
    const before = await scene.server.commandCount('evalsha')
    await sleep(300)
    // Of the new connection alone.
    expect([before, await scene.server.commandCount('evalsha')]).toEqual([1, 1])
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
    const clients = `${key('resource')}:clients`
    for (let index = 0; index < 60; index++) {
      // As a client that was here a while ago, and has left.
      await scene.server.call('HSET', clients, `${index}`.padStart(16, '0'), Date.now() - 1000)
    }
    const left = () => scene.server.call('HLEN', clients)
    await until(
      async () => (await left()) === 2,
      'the holder and the one that waits are left, once it has polled',
    )
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
    expect(await scene.server.call('EXISTS', `${key('resource')}:queue`)).toBe(0)
  })
})
