'use strict'

const net = require('node:net')
const { inspect } = require('node:util')
const lockFactory = require('..')
const { runNode } = require('./support/child')
const { startRedis } = require('./support/redis-server')
const { redisScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

const forever = Number.POSITIVE_INFINITY

/** The ids of this process's connections to a server. */
async function connections(server) {
  const list = await server.call('CLIENT', 'LIST')
  return [...list.matchAll(/^id=(\d+) .* name=lock-inc:\S*:(\d+) /gm)]
    .filter(([, , pid]) => Number(pid) === process.pid)
    .map(([, id]) => id)
}

/** What a locker is for, with two of them: taking, waiting, being told of one's turn, giving back. */
async function work(newLocker) {
  const [first, second] = [newLocker(), newLocker()]
  const lock = await first.lock('resource')
  const call = second.lock('resource', { timeout: forever })
  await until(async () => (await first.inspect('resource')).waiters.length === 1, 'it waits')
  expect(await lock.unlock()).toBe(true)
  expect(await (await call).unlock()).toBe(true)
  await Promise.all([first.close(), second.close()])
}

describe('a slow network', () => {
  const scene = redisScene({ throughProxy: true })
  const { newLocker } = scene
  const own = () => connections(scene.server)

  it('of 550 ms there and back costs a call with a second of patience nothing, nor its neighbours', async () => {
    const [holder, locker] = [newLocker(), newLocker()]
    await Promise.all([holder.lock('resource'), locker.isLocked('resource')])
    const before = await own()
    scene.proxy.delay = 275
    const outcomes = await Promise.all([
      rejection(locker.lock('resource', { timeout: 1000 })),
      locker.isLocked('other'),
      ...Array.from({ length: 20 }, (_, index) => holder.lock(`other ${index}`)),
    ])
    expect(outcomes[0].code).toBe('ERR_RESOURCE_LOCKED')
    expect(outcomes[1]).toBe(false)
    scene.proxy.delay = 0
    await until(async () => (await own()).length === 1, 'there is one connection')
    expect(await own()).toEqual(before)
  })

  it('of 160 ms there and back suits a commandTimeout of 300', async () => {
    const locker = newLocker({ settings: { commandTimeout: 300 } })
    await locker.isLocked('resource')
    await newLocker({ port: scene.server.port }).lock('held')
    const before = await own()
    scene.proxy.delay = 80
    for (let round = 0; round < 5; round++) {
      await (await locker.lock('resource')).unlock()
      // There is no time for two answers.
      expect(await locker.tryLock('held')).toBeNull()
    }
    // One that comes too late is no reason to think ill of the connection.
    scene.proxy.delay = 160
    const late = await Promise.all(Array.from({ length: 5 }, () => rejection(locker.isLocked('resource'))))
    expect(late.map(({ code }) => code)).toEqual(Array(5).fill('ERR_CONNECTION'))
    scene.proxy.delay = 0
    await until(
      async () => (await locker.isLocked('resource').catch(() => undefined)) === false,
      'it answers',
    )
    expect(await own()).toEqual(before)
  })

  it('that swallows one connection has the calls go on over another one', async () => {
    const [locker, waiter] = [newLocker(), newLocker()]
    const lock = await locker.lock('resource')
    const waiting = waiter.lock('resource', { timeout: forever })
    await scene.waiting('resource', 1)
    const before = await own()
    scene.proxy.silenceCurrent()
    const [unlocked, other] = await Promise.all([lock.unlock(), locker.lock('other')])
    expect([unlocked, other.held, (await waiting).held]).toEqual([true, true, true])
    const after = await own()
    expect(after.some((id) => !before.includes(id))).toBe(true)
  })

  it('whose answers come when another connection is in use already does no harm', async () => {
    const locker = newLocker()
    await locker.isLocked('resource')
    const [before] = await own()
    scene.proxy.holdCurrent()
    const locking = locker.lock('resource')
    await until(() => scene.exists('resource'), 'it has been carried out')
    await until(async () => (await own()).some((id) => id !== before), 'there is another connection')
    scene.proxy.releaseReplies()
    const lock = await locking
    expect(await scene.server.call('GET', scene.key('resource'))).toMatch(/000001$/)
    expect(await lock.unlock()).toBe(true)
    expect(await scene.exists('resource')).toBe(false)
  })
})

describe('a server', () => {
  const scene = redisScene()
  const { newLocker } = scene
  const own = () => connections(scene.server)

  it('that stands still for 0.6 s now and then keeps its connection, and all calls', async () => {
    const locker = newLocker()
    await locker.isLocked('resource')
    const before = await own()
    for (let round = 0; round < 3; round++) {
      const sleeping = scene.server.call('DEBUG', 'SLEEP', '0.6')
      const locks = await Promise.all(
        Array.from({ length: 50 }, (_, index) => locker.lock(`${round} ${index}`)),
      )
      await Promise.all(locks.map((lock) => lock.unlock()))
      await sleeping
    }
    // Another one was tried beside it, which the server may see only now.
    await until(async () => String(await own()) === String(before), 'there is the one connection')
  })

  it('that is stopped for long ends each call at its deadline, and goes on', async () => {
    const locker = newLocker({ settings: { commandTimeout: 700 } })
    await locker.isLocked('resource')
    process.kill(scene.server.pid, 'SIGSTOP')
    try {
      for (let round = 0; round < 3; round++) {
        const start = performance.now()
        const errors = await Promise.all(Array.from({ length: 20 }, () => rejection(locker.lock('resource'))))
        for (const { code } of errors) expect(code).toBe('ERR_CONNECTION')
        expect(performance.now() - start).toBeLessThan(1400)
      }
    } finally {
      process.kill(scene.server.pid, 'SIGCONT')
    }
    const lock = await until(() => locker.lock('resource').catch(() => undefined), 'it goes on')
    expect(await lock.unlock()).toBe(true)
  })

  it('that has no scripts, or no more, carries out an unlock before a lock that is called after it', async () => {
    const fresh = await startRedis()
    try {
      const [first, second] = [newLocker({ port: fresh.port }), newLocker({ port: fresh.port })]
      const flush = () => fresh.call('SCRIPT', 'FLUSH')
      for (const before of [() => {}, flush, () => flush().then(() => first.isLocked('resource'))]) {
        const lock = await first.lock('resource')
        await before()
        const [unlocked, next] = await Promise.all([lock.unlock(), second.lock('resource')])
        expect(unlocked).toBe(true)
        expect(await next.unlock()).toBe(true)
      }
      // The scripts are lost before the lock is taken, so that one of them is known to be.
      await flush()
      const lock = await first.lock('resource')
      const [unlocked, next] = await Promise.all([lock.unlock(), second.lock('resource')])
      expect([unlocked, next.held]).toEqual([true, true])
      await Promise.all([first.close(), second.close()])
    } finally {
      await fresh.stop()
    }
  })

  it('that has lost its scripts gets each of them once, however many calls are under way', async () => {
    const locker = newLocker()
    await (await locker.lock('resource')).unlock()
    await scene.server.call('SCRIPT', 'FLUSH')
    const before = await scene.server.commandCount('eval')
    const locks = await Promise.all(Array.from({ length: 12_000 }, (_, index) => locker.lock(`${index}`)))
    await Promise.all(locks.map((lock) => lock.unlock()))
    // The others are for those that were not unlocked at once: a renewal, another way to unlock, and what others are told.
    expect([2, 3, 4, 5]).toContain((await scene.server.commandCount('eval')) - before)
  })

  it('that has too many clients is quoted', async () => {
    const names = ['maxclients']
    const [, before] = await scene.server.call('CONFIG', 'GET', ...names)
    await scene.server.call('CONFIG', 'SET', 'maxclients', '1')
    try {
      for (let round = 0; round < 5; round++) {
        const locker = newLocker({ settings: { commandTimeout: 200 + round } })
        const { code, message, cause } = await rejection(locker.lock('resource'))
        expect([code, cause.message]).toEqual(['ERR_CONNECTION', 'ERR max number of clients reached'])
        expect(message).toContain('could not be reached within')
        expect(message).toContain('(ERR max number of clients reached)')
      }
    } finally {
      await scene.server.call('CONFIG', 'SET', 'maxclients', before)
    }
  })

  it('whose ACL has the channels of some lockers only lets the others work as well, on one connection', async () => {
    await scene.server.call('ACL', 'SETUSER', 'some', 'on', '>secret', '~*', '+@all', 'resetchannels', '&a:*')
    const config = { username: 'some', password: 'secret' }
    for (const prefix of ['b:', 'a:']) {
      const lockers = []
      const make = (settings) => {
        const locker = newLocker({ ...config, settings })
        lockers.push(locker)
        return locker
      }
      const beside = make({ prefix: prefix === 'a:' ? 'b:' : 'a:' })
      await beside.isLocked('resource')
      await work(() => make({ prefix }))
      expect(await own()).toHaveLength(1)
      await (await beside.lock('resource')).unlock()
      await beside.close()
    }
  })
})

describe('why there is no connection', () => {
  const words = '-ERR max number of clients reached\r\n'
  const opened = new Set()
  let listener

  /** What a call is told of a server that does this with each connection. */
  const told = async (serve, config = {}, options = {}) => {
    listener = net.createServer(options, (socket) => {
      opened.add(socket)
      socket.on('error', () => {})
      serve(socket)
    })
    await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve))
    const locker = lockFactory({
      driver: 'redis',
      config: { port: listener.address().port, retry_max_delay: 20, ...config },
      settings: { prefix: 'x', commandTimeout: 300 },
    })
    // A call may be over before the first try to connect is.
    const failure = async () => [await rejection(locker.isLocked('resource'))].find(({ cause }) => cause)
    const error = await until(failure, 'it is known why')
    await locker.close()
    expect(error.code).toBe('ERR_CONNECTION')
    expect(error.message).toContain(error.cause.message)
    return error.cause
  }

  afterEach(async () => {
    for (const socket of opened) socket.destroy()
    opened.clear()
    await new Promise((resolve) => listener.close(resolve))
  })

  it.each([
    ['at once', (socket) => socket.end(words), {}],
    ['in answer to HELLO', (socket) => socket.once('data', () => socket.end(words)), {}],
    // What has not been read has the other side be told of a reset.
    [
      'before HELLO is read',
      (socket) => socket.write(words, () => setTimeout(() => socket.destroy(), 20)),
      { pauseOnConnect: true },
    ],
  ])('is what the server says %s, and closes', async (_when, serve, options) => {
    expect((await told(serve, {}, options)).message).toBe('ERR max number of clients reached')
  })

  it.each([
    ['at once', (socket) => socket.destroy()],
    ['in answer to HELLO', (socket) => socket.once('data', () => socket.destroy())],
  ])('is that the server closes %s, which may expect TLS', async (_when, serve) => {
    const { code, message } = await told(serve)
    expect(code).toMatch(/^(ECONNRESET|EPIPE)$/)
    expect(message).toMatch(/, at HELLO; if it expects TLS on this port, set config.tls$/)
  })

  it('is that the server does not speak TLS', async () => {
    const { code, message } = await told(
      (socket) => socket.once('data', () => socket.write('-ERR what?\r\n')),
      {
        tls: {},
      },
    )
    expect([code, message]).toEqual([
      'ERR_TLS',
      expect.stringMatching(/^the server does not speak TLS on this port: /),
    ])
  })

  it('is that the server says nothing', async () => {
    const { code, message } = await told(() => {})
    expect([code, message]).toEqual(['ETIMEDOUT', expect.stringContaining('ms, at HELLO')])
  })
})

describe('a process that may open no more files', () => {
  const scene = redisScene()

  it('is told so by name, and goes on when it may again', async () => {
    const script = `
      const fs = require('node:fs')
      const opened = []
      const fill = () => { try { for (;;) opened.push(fs.openSync('/dev/null')) } catch {} }
      const empty = () => { for (const file of opened.splice(0)) fs.closeSync(file) }
      const newLocker = (db) =>
        lockFactory({ driver: 'redis', config: { ...args, db, retry_max_delay: 20 }, settings: { prefix: 'x', commandTimeout: 300 } })
      tell('ready')
      ;(async () => {
        fill()
        try { newLocker(0) } catch (error) { tell(error.message) }
        empty()
        await newLocker(0).isLocked('resource')
        fill()
        const locker = newLocker(1)
        await locker.isLocked('resource').catch(({ code, message, cause }) => tell([code, message, cause.code]))
        empty()
        tell(await locker.isLocked('resource'))
        process.exit()
      })()
    `
    const { ended } = runNode(script, { host: '127.0.0.1', port: scene.server.port }, { files: 100 })
    expect((await ended).messages).toEqual([
      'ready',
      expect.stringMatching(/^lock-inc could not start its thread: Too many open files/),
      ['ERR_CONNECTION', expect.stringContaining('Too many open files'), 'EMFILE'],
      false,
    ])
  })
})

describe.each(['redis', 'redis-6.2'])('%s', (name) => {
  let server

  /** Has a server with these arguments, and a proxy that does something with what lockers send. */
  const servers = []
  const start = async (...args) => {
    server = await startRedis({ name, args })
    servers.push(server)
    return server
  }
  const factory = (config) => () =>
    lockFactory({ driver: 'redis', config: { port: server.port, ...config }, settings: { prefix: 'lock:' } })

  afterEach(async () => {
    for (const server of servers.splice(0)) await server.stop()
  })

  it('may not know HELLO', async () => {
    await start('--rename-command', 'HELLO', '')
    await work(factory({}))
  })

  it('may want a password and not know HELLO', async () => {
    await start('--rename-command', 'HELLO', '', '--requirepass', 'hunter2')
    await server.client({ password: 'hunter2' }).call('PING')
    await work(factory({ password: 'hunter2' }))
    const error = await rejection(factory({ password: 'hunter3' })().lock('resource'))
    expect(error.code).toBe('ERR_REDIS_WRONGPASS')
  })

  it('does not have a password shown that it repeats', async () => {
    await start('--rename-command', 'HELLO', '', '--rename-command', 'AUTH', '')
    const locker = factory({ password: 'hunter2' })()
    const error = await rejection(locker.lock('resource'))
    expect(inspect(error, { depth: 5 })).toMatch(/unknown command/)
    expect(inspect(error, { depth: 5 })).not.toMatch(/hunter2/)
    await locker.close()
  })

  it('may forbid to say who we are', async () => {
    await start()
    await server.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', '-client')
    await work(factory({ username: 'app', password: 'secret' }))
  })

  describe('behind a proxy that', () => {
    const opened = new Set()
    let proxy

    /** Answers HELLO itself: with this, or by closing the connection. The rest it passes on. */
    const refusing = async (answer) => {
      await start()
      proxy = net.createServer((client) => {
        const upstream = net.connect(server.port, '127.0.0.1')
        for (const [socket, other] of [
          [client, upstream],
          [upstream, client],
        ]) {
          opened.add(socket)
          socket.on('error', () => {}).on('close', () => other.destroy())
        }
        client.on('data', (data) => {
          if (!data.includes('HELLO')) upstream.write(data)
          else if (answer) client.write(answer)
          else client.destroy()
        })
        upstream.pipe(client)
      })
      await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve))
      await work(factory({ port: proxy.address().port }))
    }

    afterEach(async () => {
      for (const socket of opened) socket.destroy()
      opened.clear()
      await new Promise((resolve) => proxy.close(resolve))
    })

    it.each([
      '-NOPROTO unsupported protocol version\r\n',
      "-NOPERM this user has no permissions to run the 'hello' command\r\n",
      '-ERR unsupported command\r\n',
    ])('answers HELLO with %j', (answer) => refusing(answer))

    it('closes the connection on HELLO', () => refusing())
  })
})
