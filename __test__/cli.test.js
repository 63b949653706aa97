'use strict'

const { spawn } = require('node:child_process')
const path = require('node:path')
const { freePort } = require('./support/redis-server')
const { redisScene } = require('./support/scene')
const { until } = require('./support/until')

const bin = path.join(__dirname, '../bin/lock-inc.js')

/** The command line as a process of its own, without a terminal. */
describe('the command line', () => {
  const scene = redisScene()
  const { newLocker } = scene
  const running = []

  afterEach(() => {
    for (const child of running.splice(0)) child.kill('SIGKILL')
  })

  /** Starts it for the locks of this test. `done` resolves to how it has ended and what it has said. */
  const start = (args, env = {}) => {
    const url = `redis://127.0.0.1:${scene.server.port}`
    const child = spawn(process.execPath, [bin, ...args], {
      env: { ...process.env, LOCK_INC_URL: url, LOCK_INC_PREFIX: scene.prefix, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    running.push(child)
    const said = { out: '', err: '' }
    child.stdout.on('data', (data) => (said.out += data))
    child.stderr.on('data', (data) => (said.err += data))
    const done = new Promise((resolve) =>
      child.on('close', (code, signal) => resolve({ code, signal, ...said })),
    )
    return { child, said, done }
  }
  const cli = (...args) => start(args).done
  const print = "process.stdout.write([process.env.LOCK_INC_NAME, process.env.LOCK_INC_TOKEN].join(' '))"

  it('runs a command under a lock, tells it name and token, ends as it ends, and unlocks', async () => {
    const locker = newLocker()
    const first = await locker.lock('job')
    await first.unlock()
    const { code, out } = await cli(
      'run',
      'job',
      '--',
      process.execPath,
      '-e',
      `${print}; process.exitCode = 3`,
    )
    const [name, token] = out.split(' ')
    expect([code, name]).toEqual([3, 'job'])
    expect(Number(token)).toBeGreaterThan(first.token)
    expect(await locker.inspect('job')).toBeNull()
  })

  it('does not run a command where the lock is not to be had, and ends with 75 or as it was told', async () => {
    await newLocker().lock('job')
    const command = ['--', process.execPath, '-e', print]
    expect(await cli('run', 'job', '--no-wait', ...command)).toMatchObject({ code: 75, out: '' })
    expect(await cli('run', 'job', '--timeout', '50ms', '-E', '9', ...command)).toMatchObject({
      code: 9,
      out: '',
    })
  })

  it('passes a signal on to the command, and says how that has ended', async () => {
    const locker = newLocker()
    const wait =
      "process.on('SIGTERM', () => process.exit(7)); setInterval(() => {}, 1000); process.stdout.write('up')"
    const { child, said, done } = start(['run', 'job', '--', process.execPath, '-e', wait])
    await until(() => said.out === 'up', 'the command runs')
    expect(await locker.isLocked('job')).toBe(true)
    child.kill('SIGTERM')
    expect(await done).toMatchObject({ code: 7 })
    expect(await locker.isLocked('job')).toBe(false)
  })

  it('ends the command and says 76 when the lock is lost', async () => {
    const { said, done } = start([
      'run',
      'job',
      '--',
      process.execPath,
      '-e',
      "setInterval(() => {}, 1000); process.stdout.write('up')",
    ])
    await until(() => said.out === 'up', 'the command runs')
    expect(await newLocker().forceUnlock('job')).toBe(true)
    expect(await done).toMatchObject({ code: 76 })
  })

  it('leaves nobody in the queue when it is ended while it waits', async () => {
    const locker = newLocker()
    await locker.lock('job')
    const { child, done } = start(['run', 'job', '--', process.execPath, '-e', print])
    await until(async () => (await locker.inspect('job')).waiters.length === 1, 'it waits')
    child.kill('SIGINT')
    expect(await done).toMatchObject({ code: 130, out: '' })
    await until(async () => (await locker.inspect('job')).waiters.length === 0, 'nobody waits')
  })

  it('says 127 where there is no such command, and keeps no lock', async () => {
    expect(await cli('run', 'job', '--', '/there/is/none')).toMatchObject({ code: 127 })
    expect(await newLocker().isLocked('job')).toBe(false)
  })

  it('lists who holds what, by a pattern, and as JSON without colours', async () => {
    const locker = newLocker()
    await Promise.all(['a:1', 'a:2', 'b:1'].map((name) => locker.lock(name, { expire: 600 })))
    let listed
    await until(async () => {
      listed = JSON.parse((await cli('ls', 'a:*', '--json')).out)
      return listed.held.length === 2
    }, 'they are listed')
    expect(listed.held.map(({ name }) => name)).toEqual(['a:1', 'a:2'])
    expect(listed.pending).toEqual([])
    const { code, out } = await cli('ls')
    expect(code).toBe(0)
    for (const name of ['a:1', 'a:2', 'b:1']) expect(out).toContain(name)
    // Nobody looks at a terminal.
    expect(out.includes('\u001b')).toBe(false)
  })

  it('shows one lock, and says 1 where there is none', async () => {
    const lock = await newLocker().lock('job', { expire: 600 })
    const { code, out } = await cli('show', 'job', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ name: 'job', waiters: [], holders: [{ pid: process.pid }] })
    await lock.unlock()
    expect(await cli('show', 'job')).toMatchObject({ code: 1 })
  })

  it('unlocks by force when it is told so, and asks nobody who is not there', async () => {
    const lock = await newLocker().lock('job', { expire: 600 })
    expect((await cli('unlock', 'job')).code).toBe(64)
    expect(await lock.extend(600)).toBe(true)
    expect(await cli('unlock', 'job', '--yes')).toMatchObject({ code: 0 })
    await until(() => lock.signal.aborted, 'the holder is told')
  })

  it('names the nearest command or option where one is unknown', async () => {
    const command = await cli('unlok', 'job')
    expect(command.code).toBe(64)
    expect(command.err).toContain('unlock')
    const option = await cli('ls', '--jsn')
    expect(option.code).toBe(64)
    expect(option.err).toContain('--json')
  })

  it('says where there is no server, and that nothing answers there', async () => {
    const port = await freePort()
    const { code, err } = await start(['ls', '--command-timeout', '200ms'], {
      LOCK_INC_URL: `redis://:secret@127.0.0.1:${port}`,
    }).done
    expect(code).toBe(69)
    expect(err).toContain(String(port))
    expect(err).not.toContain('secret')
  })

  it('needs a terminal for top', async () => {
    expect((await cli('top')).code).toBe(64)
  })
})
