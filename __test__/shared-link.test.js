'use strict'

const net = require('node:net')
const { runNode } = require('./support/child')
const { startRedis } = require('./support/redis-server')
const { redisScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

const forever = Number.POSITIVE_INFINITY

/** The ids of the connections that lockers have to a server. */
async function connections(server, pid = process.pid) {
  const list = await server.call('CLIENT', 'LIST')
  return [...list.matchAll(/^id=(\d+) .* name=lock-inc:\S*:(\d+) /gm)]
    .filter(([, , of]) => Number(of) === pid)
    .map(([, id]) => id)
}

const subscriptions = async (server, pattern = '*') =>
  (await server.call('PUBSUB', 'CHANNELS', pattern)).length

describe('lockers with the same config', () => {
  const scene = redisScene()
  const { newLocker } = scene
  const own = () => connections(scene.server)
  const listening = () => subscriptions(scene.server, `${scene.prefix}client:*`)

  afterEach(() => until(async () => (await own()).length === 0, 'the connections are closed'))

  /** So many lockers that are connected. */
  async function lockers(count, config) {
    const made = Array.from({ length: count }, () => newLocker(config))
    await Promise.all(made.map((locker) => locker.isLocked('resource')))
    return made
  }

  it('have one connection, and a subscription each', async () => {
    await lockers(20)
    expect(await own()).toHaveLength(1)
    await until(async () => (await listening()) === 20, 'all listen')
  })

  it('have different ones where anything but prefix and settings.prefix differs', async () => {
    await scene.server.call('ACL', 'SETUSER', 'app', 'on', '>secret', '>other', '~*', '&*', '+@all')
    const strategy = () => 50
    const configs = [
      {},
      { db: 1 },
      { db: 2 },
      { username: 'app', password: 'secret' },
      { username: 'app', password: 'other' },
      { retry_strategy: strategy },
      // Another function, though it looks the same.
      { retry_strategy: () => 50 },
      { max_attempts: 7 },
      { host: 'localhost' },
      { path: scene.server.socket },
    ]
    for (const config of configs) {
      await newLocker(config).isLocked('resource')
      await newLocker({ ...config, prefix: 'beside:' }).isLocked('resource')
    }
    await newLocker({ settings: { commandTimeout: 1234 } }).isLocked('resource')
    expect(await own()).toHaveLength(configs.length + 1)
  })

  it('have different ones with TLS and without, and with other certificates', async () => {
    const accepted = new Set()
    const server = net.createServer((socket) => accepted.add(socket.on('error', () => {})))
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address()
    const commandTimeout = 5000
    const made = [undefined, { servername: 'a' }, { servername: 'b' }, { servername: 'b' }].map((tls) =>
      newLocker({ port, tls, settings: { commandTimeout } }),
    )
    await until(() => accepted.size === 3, 'there are three')
    // Only then: a try takes up to 5 s, so this is none of a second try.
    expect(accepted.size).toBe(3)
    await Promise.all(made.map((locker) => locker.close()))
    for (const socket of accepted) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })

  it('leave it in any order, and the last one closes it', async () => {
    const made = await lockers(10)
    const [id] = await own()
    await until(async () => (await listening()) === 10, 'all listen')
    const order = [3, 9, 0, 5, 1, 8, 2, 7, 4]
    for (const [index, number] of order.entries()) {
      await made[number].close()
      await until(async () => (await listening()) === 9 - index, 'one less listens')
      await (await made[6].lock('resource')).unlock()
    }
    expect(await own()).toEqual([id])
    await made[6].close()
    await until(async () => (await own()).length === 0, 'it is closed')
  })

  it('come and go at the same moment', async () => {
    for (let round = 0; round < 50; round++) {
      const [old] = await lockers(1)
      const closing = old.close()
      const next = newLocker()
      const lock = next.lock('resource')
      await closing
      await (await lock).unlock()
      await next.close()
    }
  })

  it('are made and closed without a trace, also before they are connected', async () => {
    const [keeping] = await lockers(1)
    for (let round = 0; round < 20; round++) {
      const made = Array.from({ length: 50 }, () => newLocker())
      if (round % 2) await made[0].isLocked('resource')
      await Promise.all(made.map((locker) => locker.close()))
    }
    await until(async () => (await listening()) === 1, 'one listens')
    await keeping.isLocked('resource')
    expect(await own()).toHaveLength(1)
  })

  it('are each told of what is theirs', async () => {
    const made = await lockers(30)
    const locks = await Promise.all(made.map((locker, index) => locker.lock(`resource ${index}`)))
    await until(async () => (await listening()) === 30, 'all listen')
    await made[0].forceUnlock('resource 17')
    await until(() => locks[17].signal.aborted, 'it is lost')
    expect(locks.filter((lock) => lock.held)).toHaveLength(29)
    await scene.server.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(async () => (await listening()) === 30, 'all listen again')
    await made[0].forceUnlock('resource 23')
    await until(() => locks[23].signal.aborted, 'it is lost')
  })

  it('have different ones where another copy of the module has another retry_strategy', async () => {
    const asked = new Set()
    const made = ['first', 'second'].map((name) => {
      let lockFactory
      jest.isolateModules(() => {
        lockFactory = require('..')
      })
      const retry_strategy = () => {
        asked.add(name)
        return 10
      }
      return lockFactory({
        driver: 'redis',
        config: { port: scene.server.port, retry_strategy },
        settings: { prefix: scene.prefix },
      })
    })
    await Promise.all(made.map((locker) => locker.isLocked('resource')))
    expect(await own()).toHaveLength(2)
    await scene.server.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => asked.size === 2, 'both are asked')
    await Promise.all(made.map((locker) => locker.close()))
  })

  it('ask their retry_strategy once', async () => {
    const asked = []
    const strategy = ({ attempt }) => {
      asked.push(attempt)
      return 10
    }
    const made = await lockers(10, { retry_strategy: strategy })
    await scene.server.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await Promise.all(made.map((locker) => locker.lock('resource').catch(() => {})))
    await until(async () => (await own()).length === 1, 'it is connected again')
    expect(asked).toEqual([1])
  })

  it('each have one that waits: over one connection, which is idle, and all are served', async () => {
    const count = 2000
    const [holder] = await lockers(1)
    const locks = await Promise.all(
      Array.from({ length: count }, (_, index) => holder.lock(`resource ${index}`, { expire: 600 })),
    )
    const calls = Array.from({ length: count }, (_, index) =>
      newLocker().lock(`resource ${index}`, { timeout: forever }),
    )
    for (const call of calls) call.catch(() => {})
    await Promise.all(Array.from({ length: count }, (_, index) => waits(holder, `resource ${index}`)))
    expect(await own()).toHaveLength(1)
    await until(async () => (await listening()) === count + 1, 'all listen')
    const polls = () => scene.server.commandCount('evalsha')
    const before = await polls()
    await until(async () => (await polls()) - before >= count / 2, 'they poll')
    // Each does it once in four seconds, and nothing else.
    expect((await polls()) - before).toBeLessThanOrEqual(count)
    for (const lock of locks) lock.unlock()
    for (const lock of await Promise.all(calls)) expect(lock.held).toBe(true)
    expect(await own()).toHaveLength(1)
  })

  it('wait for one lock, and the server looks for clients that have gone now and then only', async () => {
    const made = await lockers(500)
    const lock = await made[0].lock('resource')
    let left = made.length
    let enough
    const stop = new Promise((resolve) => {
      enough = resolve
    })
    const calls = made.map(async (locker) => {
      const lock = await locker.lock('resource', { timeout: forever })
      if (--left === 100) enough(lock)
      if (left !== 100) await lock.unlock()
    })
    await until(async () => (await made[0].inspect('resource')).waiters.length === 500, 'all wait')
    await lock.unlock()
    const last = await stop
    // Until all are to give another sign of life with their next poll.
    const alive = (await scene.server.call('HVALS', `${scene.key('resource')}:clients`)).map(Number)
    const newest = Math.max(...alive.filter((end) => end > 0))
    const time = async () => Number((await scene.server.call('TIME'))[0]) * 1000
    await until(async () => (await time()) > newest - 15_000 * 0.9, 'it is time')
    const signs = () => scene.server.commandCount('hset')
    const looks = await scene.server.commandCount('hgetall')
    const before = await signs()
    await scene.server.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(async () => (await signs()) - before >= 99, 'they poll')
    expect((await scene.server.commandCount('hgetall')) - looks).toBeLessThan(60)
    await last.unlock()
    await Promise.all(calls)
  })

  it('whose link was given up are made anew', async () => {
    const server = await startRedis()
    const config = { port: server.port, max_attempts: 1, settings: { commandTimeout: 2000 } }
    await server.kill()
    const first = newLocker(config)
    expect((await rejection(first.lock('resource'))).message).toMatch(/given up/)
    await server.start()
    const second = newLocker(config)
    await (await second.lock('resource')).unlock()
    await Promise.all([first.close(), second.close()])
    await server.stop()
  })

  it('end with their worker, at whatever moment it is terminated', async () => {
    const [keeping] = await lockers(1)
    const code = `
      const { parentPort, workerData } = require('node:worker_threads')
      const lockFactory = require(workerData.module)
      const lockers = Array.from({ length: 20 }, () => lockFactory(workerData.spec))
      const timeout = Infinity
      lockers.forEach((locker, index) => locker.lock('worker ' + index % 5, { timeout }).catch(() => {}))
      parentPort.postMessage('started')
    `
    const { messages, child, ended } = runNode(
      `
      const { Worker } = require('node:worker_threads')
      const start = async (pause) => {
        const worker = new Worker(${JSON.stringify(code)}, { eval: true, workerData: args })
        await new Promise((resolve) => worker.once('message', resolve))
        await new Promise((resolve) => setTimeout(resolve, pause))
        await worker.terminate()
      }
      const main = async () => {
        const locker = lockFactory(args.spec)
        await locker.isLocked('resource')
        for (let round = 0; round < 12; round++) await start(round)
        tell('all have ended')
        await new Promise((resolve) => process.stdin.once('data', resolve))
        process.stdin.destroy()
        tell(await locker.isLocked('resource'))
        await locker.close()
      }
      main()
    `,
      { spec: scene.spec(), module: require.resolve('..') },
    )
    await until(() => messages.length === 1, 'all have ended')
    await until(async () => (await connections(scene.server, child.pid)).length === 1, 'one is left')
    child.stdin.write('go on')
    const { code: exit, stderr } = await ended
    expect({ exit, stderr, last: messages[1] }).toEqual({ exit: 0, stderr: '', last: false })
    await keeping.isLocked('resource')
  })
})

/** Waits until one call waits for a resource. */
async function waits(locker, resource) {
  await until(async () => (await locker.inspect(resource))?.waiters.length === 1, `one waits for ${resource}`)
}
