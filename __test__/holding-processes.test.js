'use strict'

const { resume, runNode, stop } = require('./support/child')
const { redisScene } = require('./support/scene')
const { until } = require('./support/until')

// Blocked, stopped, killed, terminated: what becomes of the locks that are held there.
describe('a lock and a process that does not run', () => {
  const scene = redisScene()
  const { newLocker, key, exists, spec } = scene
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

  it('is renewed while the JavaScript thread is blocked for five leases', async () => {
    const { child, messages, ended } = runNode(
      `
      lockFactory(args).lock('resource', { expire: 1, renew: true }).then((lock) => {
        lock.signal.addEventListener('abort', () => tell('lost'))
        tell('blocking')
        const end = Date.now() + 5000
        while (Date.now() < end);
        tell(lock.held)
        process.stdin.once('data', () => lock.unlock().then((held) => { tell(held); process.exit(0) }))
      })
      `,
      spec(),
    )
    await until(() => messages.includes('blocking'))
    while (messages.length < 2) {
      expect(await exists('resource')).toBe(true)
      await sleep(20)
    }
    expect(messages).toEqual(['blocking', true])
    child.stdin.write('unlock')
    await ended
    expect(messages).toEqual(['blocking', true, true])
  })

  it.each([true, false])(
    'is lost when the process is stopped past its lease (renewed: %p), which it knows first thing',
    async (renew) => {
      const { child, messages, ended } = runNode(
        `
      const { spec, renew } = args
      lockFactory(spec).lock('resource', { expire: 0.5, renew }).then((lock) => {
        lock.signal.addEventListener('abort', () => tell(lock.signal.reason.code))
        let last = Date.now()
        let ticks = 0
        const timer = setInterval(async () => {
          const gap = Date.now() - last
          last += gap
          // Stopped in between: this is the first that runs.
          if (gap > 400) {
            clearInterval(timer)
            tell(lock.held)
            tell(await lock.extend(10))
            tell(await lock.unlock())
            process.exit(0)
          }
          // Only now: whenever the stop comes after this, the next tick sees the gap.
          if (++ticks === 1) tell(lock.token)
        }, 5)
      })
      `,
        { spec: spec(), renew },
      )
      const [token] = await until(() => messages.length > 0 && messages)
      await stop(child)
      await until(async () => !(await exists('resource')), 'the lease ends')
      const next = await newLocker().lock('resource')
      await sleep(500)
      resume(child)
      await ended
      expect(messages.filter((message) => message !== 'ERR_LOCK_LOST')).toEqual([token, false, false, false])
      expect(messages).toContain('ERR_LOCK_LOST')
      // A store that has seen the token of the next holder refuses the one of the stopped one.
      expect(next.token).toBeGreaterThan(token)
      expect(await next.unlock()).toBe(true)
    },
  )

  it('is free one lease after the process died, renewed or not', async () => {
    const script = `
      lockFactory(args).lock('resource', { expire: 0.5, renew: true }).then(() => tell('held'))
      setInterval(() => {}, 1000)
    `
    const { child, messages, ended } = runNode(script, spec())
    await until(() => messages.includes('held'))
    await sleep(800)
    expect(await exists('resource')).toBe(true)
    child.kill('SIGKILL')
    await ended
    expect(await scene.server.call('PTTL', key('resource'))).toBeLessThanOrEqual(500)
    await until(async () => !(await exists('resource')), 'the lease ends')
  })

  it('does not keep an idle process alive, renewed or not', async () => {
    const script = "lockFactory(args).lock('resource', { expire: 0.5, renew: true }).then(() => tell('held'))"
    expect(await runNode(script, spec()).ended).toMatchObject({ code: 0, messages: ['held'], stderr: '' })
  })

  it('is no longer renewed when its worker thread was terminated', async () => {
    const script = `
      const { Worker } = require('node:worker_threads')
      const worker = new Worker(
        "const { parentPort, workerData } = require('node:worker_threads');" +
        "require(workerData.module)(workerData.spec).lock('resource', { expire: 0.4, renew: true })" +
        ".then(() => parentPort.postMessage('held')); setInterval(() => {}, 1000)",
        { eval: true, workerData: args })
      worker.once('message', () => setTimeout(async () => { await worker.terminate(); tell('terminated') }, 600))
      process.stdin.once('data', () => process.exit(0))
    `
    const { child, messages, ended } = runNode(script, { spec: spec(), module: require.resolve('..') })
    await until(() => exists('resource'))
    await until(() => messages.includes('terminated'))
    await until(async () => !(await exists('resource')), 'the lease ends')
    child.stdin.write('end')
    await ended
  })

  it('that is lost while nobody listens is no unhandled rejection', async () => {
    const script = `
      process.on('unhandledRejection', (error) => tell({ unhandled: error.message }))
      const locker = lockFactory(args)
      const lose = async () => {
        const locks = [await locker.lock('a', { expire: 0.05 }), await locker.lock('b', { renew: true })]
        locks[1].signal
        await locker.purge()
        const end = performance.now() + 10_000
        while (locks.some((lock) => lock.held) && performance.now() < end) {
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
        tell(locks.map((lock) => lock.held))
      }
      lose()
    `
    expect(await runNode(script, spec()).ended).toMatchObject({
      code: 0,
      messages: [[false, false]],
      stderr: '',
    })
  })
})
