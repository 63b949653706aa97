'use strict'

const _lockFactory = require('..')
const { oldLocker } = require('./support/lock-inc-1.2.0')
const { queueing, sleep } = require('./support/queueing')
const { lossOf, redisScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

// Calls that wait while something goes wrong.
describe('calls that wait', () => {
  const scene = redisScene({ throughProxy: true })
  const { newLocker, waiting, key, keys, exists } = scene
  const { direct, queue, listening, inOrder, timeout } = queueing(scene)

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

    it('when all of them came before there was a connection', async () => {
      const lock = await direct().lock('resource', { expire: 600 })
      const locker = newLocker()
      const order = []
      // More than what a task may do at a time on tokio's runtime.
      const calls = inOrder(4000).map(async (index) => {
        const { unlock } = await locker.lock('resource', { timeout })
        order.push(index)
        await unlock()
      })
      await waiting('resource', 4000)
      await lock.unlock()
      await Promise.all(calls)
      expect(order).toEqual(inOrder(4000))
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

    it('when a holder lets its lease end, and another one has unlocked within its first lease before', async () => {
      const [locker, holder, behind] = [direct(), direct(), direct()]
      const lock = await direct().lock('resource')
      const early = locker.lock('resource', { timeout })
      await waiting('resource', 1)
      const late = holder.lock('resource', { timeout, expire: 5 })
      await waiting('resource', 2)
      const order = []
      const calls = [locker, behind].map(async (of, index) => {
        const { unlock } = await of.lock('resource', { timeout })
        order.push(index)
        await unlock()
      })
      await waiting('resource', 4)
      await lock.unlock()
      await (await early).unlock()
      await late
      // Whoever asks at the end of the lease has it handed over: long before anybody polls.
      const asking = direct()
      await until(async () => {
        await (await asking.tryLock('resource'))?.unlock()
        return order.length === calls.length
      })
      expect(order).toEqual(inOrder(2))
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
      // From here on the server knows the scripts: else it is their absence whose reply is lost.
      await (await locker.lock('warm-up')).unlock()
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

    it('when their client has let a lease end before they came', async () => {
      const [locker, holder, behind] = [direct(), direct(), direct()]
      const lock = await holder.lock('resource')
      const ending = locker.lock('resource', { timeout, expire: 0.3 })
      await waiting('resource', 1)
      await lock.unlock()
      await lossOf(await ending)
      const next = await holder.lock('resource', { timeout, expire: 600 })
      const order = []
      const calls = await queue(2, [locker, behind], order)
      await next.unlock()
      await Promise.all(calls)
      expect(order).toEqual(inOrder(2))
    })

    it('one at a time, when the server has stood still for longer than their leases', async () => {
      // Each on a connection of its own.
      const lockers = [1, 2, 3, 4].map((id) => newLocker({ port: scene.server.port, retry_max_delay: id }))
      for (let round = 0; round < 3; round++) {
        await direct().lock('resource', { expire: 1 })
        const granted = []
        const calls = lockers.map(async (locker) => {
          const lock = await locker.lock('resource', { timeout, expire: 1.5 })
          expect(granted.filter(({ held }) => held)).toEqual([])
          granted.push(lock)
          await sleep(200)
          expect(lock.held).toBe(true)
          expect(await lock.unlock()).toBe(true)
        })
        await waiting('resource', lockers.length)
        process.kill(scene.server.pid, 'SIGSTOP')
        // Their polls leave at the end of the holder's lease, and are that old when they are answered.
        await sleep(3000)
        process.kill(scene.server.pid, 'SIGCONT')
        await Promise.all(calls)
      }
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
      // It may be alive, so it has the lease that it would set by itself. Nobody wants to wait for the end of that here.
      expect(await scene.server.call('PTTL', key('resource'))).toBeGreaterThan(30_000)
      await scene.server.call('PEXPIRE', key('resource'), '100')
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
      // Once: again would take the lock from whoever has it by then.
      await old.unlock('resource')
      await Promise.all(calls)
      expect(order).toEqual(inOrder(2))
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
})
