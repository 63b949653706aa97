'use strict'

const lockFactory = require('..')
const { runNode } = require('./support/child')
const { startRedis } = require('./support/redis-server')
const { until } = require('./support/until')

// Worker threads: each has its own lockers, all share the thread that does their I/O. The scenes run in processes of
// their own, so that what crashes there is seen.
describe('worker threads', () => {
  let server

  beforeAll(async () => {
    server = await startRedis()
  })

  afterAll(() => server.stop())

  /** Starts workers; `code` has `lockFactory`, `workerData` and `parentPort`. */
  const workers = `
    const { Worker } = require('node:worker_threads')
    const start = (code, workerData) => new Worker(
      "const { parentPort, workerData } = require('node:worker_threads'); const lockFactory = require(" +
        JSON.stringify(args.module) + "); " + code, { eval: true, workerData })
    const ended = (worker) => new Promise((resolve) => worker.once('exit', resolve))
  `
  const run = (script, spec) => runNode(workers + script, { spec, module: require.resolve('..') })
  const drivers = ['memory', 'redis']
  /** For workers under a prefix. */
  const specOf = (driver, prefix) => ({
    driver,
    ...(driver === 'redis' && { config: { port: server.port } }),
    settings: { prefix },
  })

  it.each(drivers)('exclude each other (%s)', async (driver) => {
    const script = `
      const shared = new Int32Array(new SharedArrayBuffer(8))
      const code = \`
        const locker = lockFactory(workerData.spec)
        const main = async () => {
          for (let round = 0; round < 50; round++) {
            const lock = await locker.lock('one', { retry: true, retryInterval: 1, maxRetryAttempts: 1e6 })
            if (Atomics.add(workerData.shared, 0, 1) !== 0) throw new Error('overlap')
            Atomics.add(workerData.shared, 1, 1)
            await new Promise(setImmediate)
            Atomics.sub(workerData.shared, 0, 1)
            await lock.unlock()
          }
          await locker.close()
        }
        main()
      \`
      const all = Array.from({ length: 4 }, () => start(code, { spec: args.spec, shared }))
      Promise.all(all.map(ended)).then((codes) => tell({ codes, count: shared[1] }))
    `
    const { code, messages, stderr } = await run(script, specOf(driver, 'workers:')).ended
    expect({ code, messages, stderr }).toEqual({
      code: 0,
      messages: [{ codes: [0, 0, 0, 0], count: 200 }],
      stderr: '',
    })
  })

  it.each(drivers)('share locks, up to a limit, and keep those out that do not (%s)', async (driver) => {
    const script = `
      // How many are inside: readers, writers, those with a permit. How often anybody was, and how many have met.
      const inside = new Int32Array(new SharedArrayBuffer(20))
      const code = \`
        const { spec, inside, number } = workerData
        const locker = lockFactory(spec)
        const enter = async (options, index, check) => {
          const lock = await locker.lock(index === 2 ? 'permits' : 'one', { ...options, timeout: 60_000 })
          const count = Atomics.add(inside, index, 1) + 1
          if (!check(count)) throw new Error('overlap')
          Atomics.add(inside, 3, 1)
          await new Promise(setImmediate)
          if (!check(Atomics.load(inside, index))) throw new Error('overlap')
          Atomics.sub(inside, index, 1)
          await lock.unlock()
        }
        const meet = async () => {
          const lock = await locker.lock('meeting', { mode: 'shared' })
          Atomics.add(inside, 4, 1)
          while (Atomics.load(inside, 4) < 4) await new Promise(setImmediate)
          await lock.unlock()
        }
        const main = async () => {
          await meet()
          for (let round = 0; round < 40; round++) {
            if ((round + number) % 4 === 0) {
              await enter({}, 1, (count) => count === 1 && Atomics.load(inside, 0) === 0)
            } else {
              await enter({ mode: 'shared' }, 0, () => Atomics.load(inside, 1) === 0)
            }
            await enter({ mode: 'shared', limit: 2 }, 2, (count) => count <= 2)
          }
          await locker.close()
        }
        main()
      \`
      const all = [0, 1, 2, 3].map((number) => start(code, { spec: args.spec, inside, number }))
      Promise.all(all.map(ended)).then((codes) => tell({ codes, count: inside[3] }))
    `
    const { code, messages, stderr } = await run(script, specOf(driver, 'sharing:')).ended
    expect({ code, messages, stderr }).toEqual({
      code: 0,
      messages: [{ codes: [0, 0, 0, 0], count: 320 }],
      stderr: '',
    })
  })

  it('share the locks in memory with the main thread', async () => {
    const script = `
      const locker = lockFactory(args.spec)
      locker.lock('main').then(async () => {
        const worker = start("lockFactory(workerData).lock('main').catch((error) => parentPort.postMessage(error.code))", args.spec)
        worker.once('message', tell)
        await ended(worker)
      })
    `
    expect((await run(script, specOf('memory', 'workers:')).ended).messages).toEqual(['ERR_RESOURCE_LOCKED'])
  })

  it.each(drivers)('can be terminated at any moment while they lock and unlock (%s)', async (driver) => {
    const script = `
      const code = \`
        const locker = lockFactory(workerData)
        const work = async (id) => { for (;;) await (await locker.lock('resource ' + id, { expire: 600 })).unlock() }
        for (let id = 0; id < 20; id++) work(id).catch(() => {})
        parentPort.postMessage('busy')
      \`
      const main = async () => {
        for (let round = 0; round < 30; round++) {
          const worker = start(code, args.spec)
          await new Promise((resolve) => worker.once('message', resolve))
          await new Promise((resolve) => setTimeout(resolve, round % 7))
          await worker.terminate()
        }
        tell('survived')
      }
      main()
    `
    const { code, signal, messages, stderr } = await run(script, specOf(driver, 'term:')).ended
    expect({ code, signal, messages, stderr }).toEqual({
      code: 0,
      signal: null,
      messages: ['survived'],
      stderr: '',
    })
  })

  it('do not leave a lock behind that was granted after they were terminated', async () => {
    // The server is paused while the worker asks, and answers when the worker is no more.
    const script = `
      const main = async () => {
        const worker = start(\`
          const locker = lockFactory(workerData)
          locker.isLocked('late').then(() => {
            parentPort.once('message', () => { locker.lock('late', { expire: 600 }); parentPort.postMessage('asked') })
            parentPort.postMessage('ready')
          })
        \`, args.spec)
        const heard = () => new Promise((resolve) => worker.once('message', resolve))
        await heard()
        tell('ready')
        process.stdin.once('data', async () => {
          worker.postMessage('ask')
          await heard()
          await worker.terminate()
          tell('terminated')
          process.stdin.once('data', () => process.exit(0))
        })
      }
      main()
    `
    const { child, messages, ended } = run(script, specOf('redis', 'late:'))
    const key = `late:${lockFactory.hash('late')}`
    await until(() => messages.includes('ready'))
    await server.call('CLIENT', 'PAUSE', '60000', 'WRITE')
    child.stdin.write('go')
    await until(() => messages.includes('terminated'))
    await server.call('CLIENT', 'UNPAUSE')
    await until(async () => (await server.call('GET', 'late:fence')) !== null, 'the lock was granted')
    await until(async () => (await server.call('EXISTS', key)) === 0, 'and given back')
    child.stdin.write('end')
    expect((await ended).code).toBe(0)
  })

  it('do not leave a lock behind that was granted while they were busy and that they never heard of', async () => {
    const script = `
      const worker = start(\`
        const locker = lockFactory(workerData)
        locker.lock('warm-up').then((lock) => lock.unlock()).then(() => {
          locker.lock('unheard', { expire: 600 })
          for (;;);
        })
      \`, args.spec)
      process.stdin.once('data', async () => {
        await worker.terminate()
        tell('terminated')
        process.stdin.once('data', () => process.exit(0))
      })
    `
    const { child, messages, ended } = run(script, specOf('redis', 'unheard:'))
    const key = `unheard:${lockFactory.hash('unheard')}`
    await until(async () => (await server.call('EXISTS', key)) === 1, 'the lock was granted')
    child.stdin.write('terminate')
    await until(() => messages.includes('terminated'))
    await until(async () => (await server.call('EXISTS', key)) === 0, 'and given back')
    child.stdin.write('end')
    expect((await ended).code).toBe(0)
  })

  it('may be the only ones that load the module, and the process outlives them', async () => {
    const script = `
      // The module of this process itself must not have it loaded.
      const main = async () => {
        for (let round = 0; round < 5; round++) {
          const worker = start("lockFactory(workerData).lock('x' + Math.random()).then(() => parentPort.postMessage('locked'))", args.spec)
          await new Promise((resolve) => worker.once('message', resolve))
          await worker.terminate()
        }
        setTimeout(() => tell('alive'), 200)
      }
      main()
    `
    const bare = `const args = ${JSON.stringify({ spec: specOf('redis', 'workers:'), module: require.resolve('..') })}
      const tell = (message) => process.stdout.write(JSON.stringify(message) + '\\n'); ${workers} ${script}`
    const { execFile } = require('node:child_process')
    const output = await new Promise((resolve, reject) => {
      execFile(process.execPath, ['-e', bare], (error, stdout) => (error ? reject(error) : resolve(stdout)))
    })
    expect(output).toBe('"alive"\n')
  })
})
