'use strict'

const os = require('node:os')
const { atTerminal, inShell, lockIncAtTerminal } = require('./support/command-line')
const { commandScene } = require('./support/command-scene')
const { startRedis } = require('./support/redis-server')
const { until } = require('./support/until')

describe('lock-inc top', () => {
  const scene = commandScene()
  const { ask, environment, held, listed } = scene
  const top = (args = [], options) => lockIncAtTerminal(['top', ...args], { env: environment(), ...options })
  /** What was drawn last. */
  const last = (terminal) => terminal.screen().split('\x1b[H').at(-1)
  const shows = (terminal, ...parts) =>
    until(() => parts.every((part) => last(terminal).includes(part)), `the screen shows ${parts}`)
  const LEFT = '\x1b[?25h\x1b[?1049l'

  it('says that it needs a terminal where there is none', async () => {
    const { code, stdout, stderr } = await ask(['top'])
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' })
    expect(stderr).toContain('top needs a terminal; lock-inc ls lists the same once')
  })

  it('shows what comes and goes, and gives the terminal back on q', async () => {
    const { lock } = await held('first')
    const terminal = await top(['--interval', '100ms'])
    await shows(terminal, '1 held, 0 waiting, by name', 'first')
    await held('second')
    await shows(terminal, '2 held', 'second')
    await lock.unlock()
    await until(() => !last(terminal).includes('first'), 'the first one has gone')
    terminal.press('q')
    const { code, isAsBefore, text } = await terminal.ended
    expect({ code, isAsBefore }).toEqual({ code: 0, isAsBefore: true })
    expect(text.endsWith(LEFT)).toBe(true)
  })

  it('sorts and filters by keys', async () => {
    await held('User:1', { expire: 20 })
    await held('User:2', { expire: 10 })
    await held('report')
    const terminal = await top()
    await shows(terminal, 'by name')
    terminal.press('ss')
    await shows(terminal, 'by lease')
    const text = last(terminal)
    expect(text.indexOf('User:2')).toBeLessThan(text.indexOf('User:1'))
    terminal.press('/')
    await shows(terminal, 'filter: _')
    // q is a letter of the filter now.
    terminal.press('q')
    await shows(terminal, 'filter: q_', '0 held')
    terminal.press('\x7fUs')
    await shows(terminal, 'filter: Us_', '2 held')
    terminal.press('\r')
    await shows(terminal, 'filter: Us   q quit')
    expect(last(terminal)).not.toContain('report')
    terminal.press('/*2\r')
    await shows(terminal, 'filter: Us*2   q quit', '1 held')
    terminal.press('q')
    expect((await terminal.ended).code).toBe(0)
  })

  it('scrolls where there is more than has room', async () => {
    const locker = scene.newLocker()
    for (let number = 10; number < 30; number++) await locker.lock(`name ${number}`)
    await until(async () => (await listed()).length === 20)
    const terminal = await top([], { rows: 8 })
    await shows(terminal, '20 held', '1 to 5 of 20', 'name 14')
    expect(last(terminal)).not.toContain('name 15')
    terminal.press('\x1b[6~')
    await shows(terminal, '6 to 10 of 20', 'name 15', 'name 19')
    terminal.press('\x1b[A')
    await shows(terminal, '5 to 9 of 20')
    terminal.press('q')
    expect((await terminal.ended).code).toBe(0)
  })

  it.each(['SIGTERM', 'SIGHUP', 'SIGINT'])('gives the terminal back at %s', async (name) => {
    await held('a')
    const terminal = await top()
    await shows(terminal, 'exclusive')
    terminal.signal(name)
    const { code, isAsBefore, text } = await terminal.ended
    expect({ code, isAsBefore }).toEqual({ code: 128 + os.constants.signals[name], isAsBefore: true })
    expect(text.endsWith(LEFT)).toBe(true)
  })

  it('gives the terminal back on Ctrl+C', async () => {
    const terminal = await top()
    await shows(terminal, '0 held')
    terminal.press('\x03')
    const { code, isAsBefore, text } = await terminal.ended
    expect({ code, isAsBefore }).toEqual({ code: 130, isAsBefore: true })
    expect(text.endsWith(LEFT)).toBe(true)
  })

  it('gives the terminal back on Ctrl+Z, and goes on afterwards', async () => {
    await held('a')
    const script = `set -m; ${inShell} top; echo stopped; read line; fg >/dev/null; echo "code $?"`
    const terminal = await atTerminal(['bash', '-c', script], { env: environment() })
    await shows(terminal, 'exclusive')
    terminal.press('\x1a')
    await terminal.sees('stopped')
    expect(terminal.screen().split(LEFT).length).toBe(2)
    terminal.press('\r')
    await shows(terminal, 'exclusive')
    terminal.press('q')
    await terminal.sees('code 0')
    expect((await terminal.ended).isAsBefore).toBe(true)
  })

  it('says what is wrong while Redis is away, goes on when it is back, and ends at once in between', async () => {
    const server = await startRedis()
    try {
      const env = { LOCK_INC_URL: `redis://127.0.0.1:${server.port}` }
      const args = ['--interval', '100ms', '--command-timeout', '300ms']
      const terminal = await top(args, { env })
      await shows(terminal, '0 held', 'q quit')
      await server.kill()
      await shows(terminal, `Redis at 127.0.0.1:${server.port}`)
      await server.start()
      await shows(terminal, 'q quit')
      await server.kill()
      await shows(terminal, `Redis at 127.0.0.1:${server.port}`)
      terminal.press('q')
      expect(await terminal.ended).toMatchObject({ code: 0, isAsBefore: true })
    } finally {
      await server.stop()
    }
  })
})
