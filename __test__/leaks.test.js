'use strict'

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { runNode } = require('./support/child')
const { killAtExit } = require('./support/kill-at-exit')
const { freePort, startRedis } = require('./support/redis-server')
const { redisScene } = require('./support/scene')
const { until } = require('./support/until')

// What is left of lockers that are closed, and of those that nobody can reach any more.
describe('nothing is left', () => {
  const scene = redisScene()
  const specs = () => [{ driver: 'memory', settings: { prefix: scene.prefix } }, scene.spec()]

  /** Runs jest on one test file of a project of its own. */
  async function runJest(code, ...args) {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-jest-'))
    try {
      fs.writeFileSync(path.join(directory, 'a.test.js'), code)
      const jest = require.resolve('jest/bin/jest')
      const config = JSON.stringify({ rootDir: directory, testMatch: ['**/*.test.js'], watchman: false })
      const child = killAtExit(
        spawn(process.execPath, [...process.execArgv, jest, '--config', config, '--ci', ...args]),
      )
      let output = ''
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (data) => {
          output += data
        })
      }
      const status = await new Promise((resolve) => child.once('close', resolve))
      return { status, output }
    } finally {
      fs.rmSync(directory, { recursive: true, force: true })
    }
  }

  /** Does all that a locker can do, and closes it while a lock is held. `keeping`: what keeps all of them. */
  const testFile = (keeping) => `
    const lockFactory = require(${JSON.stringify(require.resolve('..'))})
    const all = []
    ${keeping}
    it.each(${JSON.stringify(specs())})('uses a locker', async (spec) => {
      const locker = lockFactory(spec)
      const lock = await locker.lock('a')
      all.push(locker, lock)
      const { signal } = new AbortController()
      const waiting = locker.lock('a', { timeout: 60_000, signal })
      await lock.unlock()
      await (await waiting).unlock()
      await locker.request('a', (lock) => lock.signal)
      const held = await locker.lock('held', { renew: true })
      held.signal.addEventListener('abort', () => {})
      await locker.close()
    })
  `

  it.each([
    // What can be reached to the end is no open handle for that.
    ['--detectOpenHandles', 'setInterval(() => all.length, 1e6).unref()'],
    ['--detectLeaks', ''],
  ])('that jest would find (%s)', async (option, keeping) => {
    const { status, output } = await runJest(testFile(keeping), option)
    expect(output).toContain('2 passed')
    expect(output).not.toMatch(/open handle|leaking/)
    expect(status).toBe(0)
  })

  /** For scripts: `collect(done)` collects garbage until there is an answer. */
  const collecting = `
    require('node:v8').setFlagsFromString('--expose-gc')
    const gc = globalThis.Bun ? () => Bun.gc(true) : require('node:vm').runInNewContext('gc')
    const turn = () => new Promise((resolve) => setTimeout(resolve, 5))
    const collect = async (done, tries = 1000) => {
      for (let left = tries; left > 0 && !(await done()); left--) {
        gc()
        await turn()
      }
    }
  `
  const connections = async () => {
    const list = await scene.server.call('CLIENT', 'LIST')
    return list.split('\n').filter((line) => line.includes('name=lock-inc')).length
  }

  it('of 200 lockers that nobody can reach, and nothing is taken from those that are in use', async () => {
    const script = `${collecting}
      // Each has a link of its own, with a strategy that refers to its locker.
      const make = (name) => {
        const own = { locker: undefined }
        const retry_strategy = () => own.locker && 100
        const settings = { prefix: args.settings.prefix + name, commandTimeout: 10_000 }
        own.locker = lockFactory({ ...args, config: { ...args.config, retry_strategy }, settings })
        return own.locker
      }
      const use = async (name) => {
        const locker = make(name)
        await (await locker.lock('used')).unlock()
        expired.push(locker.lock('expired', { expire: 0.05 }))
      }
      const expired = []
      const main = async () => {
        const reached = make('reached')
        await reached.isLocked('x')
        const lost = []
        await make('held').lock('held', { renew: true, expire: 1 }).then(({ signal }) => {
          signal.addEventListener('abort', () => lost.push(signal.reason.reason))
        })
        const firstLease = performance.now() + 1000
        const { lock: detached } = make('detached')
        const lock = await make('lock').lock('lock')
        const first = await make('waiting').lock('waiting')
        let granted
        make('waiting').lock('waiting', { timeout: Infinity }).then((lock) => { granted = lock })
        for (let count = 0; count < 200; count++) await use('dropped' + count)
        await Promise.all(expired.splice(0))
        tell('made')
        await new Promise((resolve) => process.stdin.once('data', resolve))
        const stop = { asked: false }
        process.stdin.once('data', () => { stop.asked = true })
        await collect(() => stop.asked)
        await first.unlock()
        await collect(() => granted && performance.now() > firstLease)
        tell({
          reached: await (await reached.lock('reached')).unlock(),
          detached: await (await detached('detached')).unlock(),
          lock: await lock.unlock(),
          granted: await granted.unlock(),
          held: await make('held').isLocked('held'),
          lost,
        })
        process.exit()
      }
      main()
    `
    const { child, messages, ended } = runNode(script, scene.spec())
    await until(() => messages.includes('made'), 'the lockers are made')
    expect(await connections()).toBeGreaterThan(200)
    child.stdin.write('collect')
    // In use: six, each of them with a connection.
    await until(async () => (await connections()) <= 6, 'the others are gone')
    child.stdin.write('done')
    const { messages: told, stderr } = await ended
    expect(stderr).toBe('')
    const all = { reached: true, detached: true, lock: true, granted: true, held: true }
    expect(told[1]).toEqual({ ...all, lost: [] })
  })

  it('of lockers in memory that nobody can reach', async () => {
    const script = `${collecting}
      let collected = 0
      const registry = new FinalizationRegistry(() => { collected++ })
      const use = async () => {
        const locker = lockFactory(args)
        registry.register(locker)
        await (await locker.lock('a')).unlock()
      }
      const main = async () => {
        for (let count = 0; count < 20; count++) await use()
        await collect(() => collected === 20)
        tell(collected)
      }
      main()
    `
    expect((await runNode(script, specs()[0]).ended).messages).toEqual([20])
  })

  it('of a locker that was out of reach while a call waited for a connection: that call comes to its end', async () => {
    const config = { port: await freePort(), retry_max_delay: 20 }
    const script = `${collecting}
      let outcome
      lockFactory(args).isLocked('a').then((locked) => { outcome = { locked } }, ({ code }) => { outcome = { code } })
      tell('asked')
      collect(() => outcome, Infinity).then(() => tell(outcome))
    `
    const { messages, ended } = runNode(script, { ...scene.spec(), config })
    await until(() => messages.includes('asked'))
    const late = await startRedis({ port: config.port })
    try {
      expect(late.port).toBe(config.port)
      expect((await ended).messages).toEqual(['asked', { locked: false }])
    } finally {
      await late.stop()
    }
  })

  it('of the locker that opened a connection, of which others keep the retry_strategy', async () => {
    const script = `${collecting}
      const strategy = () => 20
      const make = () => lockFactory({ ...args, config: { ...args.config, retry_strategy: strategy } })
      let collected = false
      const registry = new FinalizationRegistry(() => { collected = true })
      const first = async () => {
        const locker = make()
        registry.register(locker)
        await locker.isLocked('a')
      }
      const main = async () => {
        await first()
        const second = make()
        await collect(() => collected)
        tell({ collected })
        await new Promise((resolve) => process.stdin.once('data', resolve))
        tell(await second.isLocked('a'))
        process.exit()
      }
      main()
    `
    const { child, messages, ended } = runNode(script, scene.spec())
    await until(() => messages.length === 1, 'the first is gone')
    expect(messages[0]).toEqual({ collected: true })
    expect(await connections()).toBe(1)
    await scene.server.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(async () => (await connections()) === 1, 'it is there again')
    child.stdin.write('go on')
    expect((await ended).messages.at(-1)).toBe(false)
  })
})
