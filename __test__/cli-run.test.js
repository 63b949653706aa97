'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { atTerminal, inShell, lockInc } = require('./support/command-line')
const { commandScene } = require('./support/command-scene')
const { introduced } = require('./support/scene')
const { freePort, startRedis } = require('./support/redis-server')
const { until } = require('./support/until')

describe('lock-inc run', () => {
  const scene = commandScene()
  const { environment } = scene
  let folder

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-run-'))
  })

  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

  const run = (args, options) => lockInc(['run', ...args], { env: environment(), ...options })
  const shell = (script) => ['--', 'sh', '-c', script]
  const forever = { timeout: Number.POSITIVE_INFINITY }
  const isRunning = (pid) => {
    try {
      // What has ended, and whose parent has not heard of it, is none that runs.
      return !/\) Z/.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'))
    } catch {
      return false
    }
  }

  it('runs the command with our input and output, and ends with its exit code', async () => {
    const script = 'read line; echo "out $line"; echo "err $line" >&2; exit 42'
    const { code, stdout, stderr } = await run(['job', ...shell(script)], { input: 'put\n' }).ended
    expect({ code, stdout, stderr }).toEqual({ code: 42, stdout: 'out put\n', stderr: 'err put\n' })
  })

  it('leaves the arguments behind -- to the command', async () => {
    const { stdout } = await run(['job', '--', 'echo', '--timeout', '--', '-h']).ended
    expect(stdout).toBe('--timeout -- -h\n')
  })

  it('takes a name that begins with - behind --', async () => {
    expect((await run(['--', '-job', 'sh', '-c', 'echo $LOCK_INC_NAME']).ended).stdout).toBe('-job\n')
  })

  it('tells the command the name of the lock and its fencing token', async () => {
    const script = 'echo "$LOCK_INC_NAME $LOCK_INC_TOKEN"'
    const first = (await run(['the job', ...shell(script)]).ended).stdout
    const second = (await run(['the job', ...shell(script)]).ended).stdout
    const tokens = [first, second].map((line) => Number(line.match(/^the job (\d+)\n$/)[1]))
    expect(tokens[1]).toBeGreaterThan(tokens[0])
  })

  it('holds the lock while the command runs, renews it, and has unlocked before it ends', async () => {
    const running = run(['job', '--expire', '1', ...shell('read line')], {
      input: null,
    })
    const first = await introduced(scene.newLocker(), 'job')
    // More than two leases later.
    const watcher = scene.newLocker()
    await until(async () => {
      const holders = (await watcher.inspect('job'))?.holders
      expect(holders?.[0]?.token).toBe(first.token)
      return Date.now() - first.since > 2500
    })
    running.child.stdin.end('\n')
    expect((await running.ended).code).toBe(0)
    expect(await scene.exists('job')).toBe(false)
  })

  it('ends with 75 and says who holds the lock, where it is not to be had', async () => {
    await scene.newLocker().lock('job')
    for (const how of [['--no-wait'], ['--timeout', '0.2'], ['--timeout', '200ms']]) {
      const { code, stdout, stderr } = await run(['job', ...how, ...shell('echo ran')]).ended
      expect({ code, stdout }).toEqual({ code: 75, stdout: '' })
      expect(stderr).toMatch(
        `lock-inc: "job" is locked: ${os.hostname()}, process ${process.pid} holds it, with `,
      )
    }
  })

  it('ends with the code of -E instead, and says nothing with --quiet', async () => {
    await scene.newLocker().lock('job')
    const { code, stderr } = await run(['job', '--no-wait', '-E', '0', '-q', ...shell('echo ran')]).ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  it('waits for its turn', async () => {
    const lock = await scene.newLocker().lock('job')
    const waiting = run(['job', ...shell('echo ran')])
    await scene.waiting('job', 1)
    expect(waiting.output.stdout).toBe('')
    await lock.unlock()
    expect(await waiting.ended).toMatchObject({ code: 0, stdout: 'ran\n' })
  })

  it('shares a lock, with a limit where one is given', async () => {
    const reader = await scene.newLocker().lock('job', { mode: 'shared' })
    expect((await run(['job', '--no-wait', '--shared', ...shell('exit 3')]).ended).code).toBe(3)
    expect((await run(['job', '--no-wait', '--limit', '2', ...shell('exit 4')]).ended).code).toBe(4)
    expect((await run(['job', '--no-wait', '--limit', '1', ...shell('exit 5')]).ended).code).toBe(75)
    expect((await run(['job', '--no-wait', ...shell('exit 6')]).ended).code).toBe(75)
    await reader.unlock()
  })

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'])('leaves the queue at %s, and nothing behind', async (name) => {
    const lock = await scene.newLocker().lock('job')
    const waiting = run(['job', ...shell('echo ran')])
    await scene.waiting('job', 1)
    waiting.signal(name)
    const { code, stdout } = await waiting.ended
    expect({ code, stdout }).toEqual({ code: 128 + os.constants.signals[name], stdout: '' })
    expect((await scene.newLocker().inspect('job')).waiters).toEqual([])
    await lock.unlock()
    expect(await scene.keys()).toEqual([expect.stringMatching(/fence$/)])
  })

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'])(
    'passes %s on to the command, whose exit code comes out',
    async (name) => {
      const script = `trap 'echo got; exit 7' ${name.slice(3)}; echo ready; while :; do sleep 0.05; done`
      const running = run(['job', ...shell(script)])
      await until(() => running.output.stdout.includes('ready'))
      running.signal(name)
      expect(await running.ended).toMatchObject({ code: 7, signal: null, stdout: 'ready\ngot\n' })
      expect(await scene.exists('job')).toBe(false)
    },
  )

  it('ends with 128 + n where signal n has ended the command', async () => {
    expect((await run(['job', ...shell('kill -KILL $$')]).ended).code).toBe(137)
    const running = run(['job', ...shell('echo ready; exec sleep 100')])
    await until(() => running.output.stdout.includes('ready'))
    running.signal('SIGTERM')
    expect((await running.ended).code).toBe(143)
  })

  it('without a terminal, passes signals on to all that the command has started', async () => {
    const running = run(['job', ...shell('sleep 100 & echo $!; wait')])
    await until(() => running.output.stdout.includes('\n'))
    const pid = Number(running.output.stdout)
    expect(isRunning(pid)).toBe(true)
    running.signal('SIGTERM')
    expect((await running.ended).code).toBe(143)
    await until(() => !isRunning(pid), 'what it has started has ended')
  })

  it('ends with 127 where there is no such command, and with 126 where it cannot be run', async () => {
    const file = path.join(folder, 'file')
    fs.writeFileSync(file, '')
    for (const [command, expected] of [
      ['no-such-command-anywhere', 127],
      [path.join(folder, 'none'), 127],
      [file, 126],
      [folder, 126],
    ]) {
      const { code, stderr } = await run(['job', '--', command]).ended
      expect({ command, code }).toEqual({ command, code: expected })
      expect(stderr).toMatch(/^lock-inc: /)
      expect(await scene.exists('job')).toBe(false)
    }
  })

  describe('when the lock is lost', () => {
    it('ends the command by SIGTERM, and itself with 76', async () => {
      const script = "trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
      const running = run(['job', ...shell(script)])
      await until(() => running.output.stdout.includes('ready'))
      expect(await scene.newLocker().forceUnlock('job')).toBe(true)
      const { code, stdout, stderr } = await running.ended
      expect({ code, stdout }).toEqual({ code: 76, stdout: 'ready\ntold\n' })
      // The shell may have said what became of its sleep.
      expect(stderr).toMatch(
        /^lock-inc: The lock was lost: it was removed from Redis .*The command is ended\n/,
      )
    })

    it('kills a command that does not end, and all that it has started', async () => {
      const script =
        "trap '' TERM; (while :; do sleep 0.05; done) & echo $!; wait; while :; do sleep 0.05; done"
      const running = run(['job', '--grace', '300ms', ...shell(script)])
      await until(() => running.output.stdout.includes('\n'))
      const pid = Number(running.output.stdout)
      await scene.newLocker().forceUnlock('job')
      expect((await running.ended).code).toBe(76)
      await until(() => !isRunning(pid), 'what it has started has been killed')
    })

    it('gives those the time to end that the command has left behind', async () => {
      const done = path.join(folder, 'done')
      const script = `(trap 'sleep 0.3; touch ${done}; exit' TERM; echo ready; while :; do sleep 0.05; done) & wait`
      const running = run(['job', '--grace', '20s', ...shell(script)])
      await until(() => running.output.stdout.includes('ready'))
      await scene.newLocker().forceUnlock('job')
      expect((await running.ended).code).toBe(76)
      expect(fs.existsSync(done)).toBe(true)
    })

    it('ends a command that has been stopped', async () => {
      const running = run(['job', ...shell('echo $$; exec sleep 100')])
      await until(() => running.output.stdout.includes('\n'))
      process.kill(Number(running.output.stdout), 'SIGSTOP')
      await scene.newLocker().forceUnlock('job')
      expect((await running.ended).code).toBe(76)
    })

    it('ends with 76 where the command was faster than the news of it', async () => {
      // As of the keys that are deleted by somebody else nobody is told before the next renewal.
      const running = run(['job', ...shell('read line')], {
        input: null,
      })
      await introduced(scene.newLocker(), 'job')
      await scene.server.call('DEL', scene.key('job'))
      running.child.stdin.end('\n')
      const { code, stderr } = await running.ended
      expect({ code, stderr }).toEqual({
        code: 76,
        stderr: 'lock-inc: the lock was lost before the command had ended\n',
      })
    })
  })

  it('ends with 69 where there is no Redis, without having run the command', async () => {
    const env = { LOCK_INC_URL: `redis://127.0.0.1:${await freePort()}` }
    const args = ['job', '--command-timeout', '0.2', ...shell('echo ran')]
    const { code, stdout, stderr } = await run(args, { env }).ended
    expect({ code, stdout }).toEqual({ code: 69, stdout: '' })
    expect(stderr).toMatch(
      /^lock-inc: Redis at 127\.0\.0\.1:\d+ could not be reached within 200 ms .*--command-timeout/,
    )
  })

  it('goes on with the exit code of the command where the lock cannot be given back', async () => {
    const server = await startRedis()
    try {
      const env = { LOCK_INC_URL: `redis://127.0.0.1:${server.port}` }
      const args = ['job', '--command-timeout', '0.3', ...shell('echo ready; read line; exit 5')]
      const running = run(args, { env, input: null })
      await until(() => running.output.stdout.includes('ready'))
      await server.kill()
      running.child.stdin.end('\n')
      const { code, stderr } = await running.ended
      expect(code).toBe(5)
      expect(stderr).toMatch(/^lock-inc: the lock was not unlocked, and ends with its lease: /)
    } finally {
      await server.stop()
    }
  })

  describe('at a terminal', () => {
    const atShell = (script) => atTerminal(['sh', '-c', script], { env: environment() })
    const counting = "trap 'echo got-int' INT; echo ready; while :; do sleep 0.05; done"

    it('leaves Ctrl+C to the terminal, which sends it to the command, too: it comes once', async () => {
      const terminal = await atShell(`exec ${inShell} run job -- sh -c "${counting}"`)
      await terminal.sees('ready')
      terminal.press('\x03')
      await terminal.sees('got-int')
      terminal.press('\x03')
      await until(() => terminal.screen().split('got-int').length === 3, 'the second one has come')
      // What would have come twice would have come by now: signals are passed on in order.
      terminal.signal('SIGTERM')
      const { code, text } = await terminal.ended
      expect(code).toBe(143)
      expect(text.split('got-int').length).toBe(3)
    })

    it('passes SIGINT on where it is in the background', async () => {
      const terminal = await atShell(
        `set -m; ${inShell} run job -- sh -c "trap 'exit 9' INT; echo ready \\$PPID; while :; do sleep 0.05; done" & wait $!; echo "code $?"`,
      )
      await terminal.sees('ready')
      process.kill(Number(terminal.screen().match(/ready (\d+)/)[1]), 'SIGINT')
      await terminal.sees('code 9')
      expect((await terminal.ended).code).toBe(0)
    })

    it('lets the command read from the terminal', async () => {
      const terminal = await atShell(
        `exec ${inShell} run job -- sh -c "echo ready; read line </dev/tty; echo heard \\$line"`,
      )
      await terminal.sees('ready')
      terminal.press('words\r')
      await terminal.sees('heard words')
      expect((await terminal.ended).code).toBe(0)
    })

    it('says whom it waits for', async () => {
      const lock = await scene.newLocker().lock('job', forever)
      const terminal = await atShell(`exec ${inShell} run job -- echo ran`)
      await terminal.sees(`lock-inc: waits for "job": ${os.hostname()}, process ${process.pid} holds it`)
      await lock.unlock()
      await terminal.sees('ran')
      expect((await terminal.ended).code).toBe(0)
    })
  })
})
