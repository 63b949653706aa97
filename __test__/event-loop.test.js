'use strict'

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { isNode } = require('../lib/is-node')
const { runNode } = require('./support/child')
const { redisScene } = require('./support/scene')

// On Linux the event loop of Node.js watches the sockets. If one step of setting that up fails, the runtime reads. On Bun
// and Deno it always does: no step is even tried.
describe('without an event loop that watches sockets', () => {
  const { spec } = redisScene()
  const CYCLES = 100
  let folder
  let library

  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-'))
    library = path.join(folder, 'failing-step.so')
    const source = path.join(__dirname, 'support/failing-step.c')
    execFileSync('cc', ['-shared', '-fPIC', '-o', library, source, '-ldl'])
  })

  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

  // In the main thread, and in a worker that is terminated.
  const script = `
    const { Worker } = require('node:worker_threads')
    const cycles = \`
      (async () => {
        const locker = lockFactory(args.spec)
        await (await locker.lock('warm-up')).unlock()
        const start = performance.now()
        for (let cycle = 0; cycle < ${CYCLES}; cycle++) await (await locker.lock('resource')).unlock()
        return performance.now() - start
      })()\`
    const main = async () => {
      tell({ main: await eval(cycles) })
      const code = 'const lockFactory = require(' + JSON.stringify(args.module) + '); const args = ' +
        JSON.stringify(args) + ';' + cycles + '.then((ms) => require("node:worker_threads").parentPort.postMessage(ms));' +
        'setInterval(() => {}, 1000)'
      const worker = new Worker(code, { eval: true })
      const ms = await new Promise((resolve) => worker.once('message', resolve))
      tell({ worker: ms })
      await worker.terminate()
      tell('terminated')
    }
    main()
  `

  it.each([
    'dlsym',
    'epoll_create1',
    'napi_get_uv_event_loop',
    'napi_async_init',
    'napi_add_async_cleanup_hook',
    'uv_poll_init',
    'uv_poll_start',
    'epoll_ctl',
  ])('as %s fails, answers are read as they come, and everything ends as it should', async (step) => {
    const env = { ...process.env, LD_PRELOAD: library, FAILING_STEP: step }
    const args = { spec: spec(), module: require.resolve('..') }
    const { code, signal, messages, stderr } = await runNode(script, args, { env }).ended
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
    expect(messages[0] === `${step} has failed`).toBe(isNode)
    expect(messages.at(-1)).toBe('terminated')
    // The watchdog, which reads what nobody else does, needs 10 ms and more for each answer.
    const slow = CYCLES * 2 * 8
    expect(messages.find(({ main }) => main).main).toBeLessThan(slow)
    expect(messages.find(({ worker }) => worker).worker).toBeLessThan(slow)
  })

  it('a memory locker works: it is set up with the first one on Redis', async () => {
    const script = `
      const memory = lockFactory({ driver: 'memory', settings: { prefix: 'memory:' } })
      memory.lock('resource').then(async () => {
        tell('memory')
        await lockFactory(args).lock('resource')
        tell('redis')
      })
    `
    const env = { ...process.env, LD_PRELOAD: library, FAILING_STEP: 'napi_get_uv_event_loop' }
    const { messages } = await runNode(script, spec(), { env }).ended
    const failure = isNode ? ['napi_get_uv_event_loop has failed'] : []
    expect(messages).toEqual(['memory', ...failure, 'redis'])
  })
})
