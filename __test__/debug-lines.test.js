'use strict'

const { runNode } = require('./support/child')
const { freePort, startRedis } = require('./support/redis-server')

// What NODE_DEBUG=lock-inc writes, in a process as users have it.
describe('NODE_DEBUG=lock-inc', () => {
  let server

  beforeAll(async () => {
    server = await startRedis({ args: ['--requirepass', 'hunter2'], password: 'hunter2' })
  })

  afterAll(() => server.stop())

  const spec = (config) => ({
    driver: 'redis',
    config: { port: server.port, password: 'hunter2', ...config },
    settings: { prefix: 'debug:', commandTimeout: 200 },
  })

  /** The lines, without what differs from one run to the next, and all that was written. */
  async function linesOf(script, args, env = { NODE_DEBUG: 'lock-inc' }) {
    const { code, stderr } = await runNode(script, args, { env: { ...process.env, ...env } }).ended
    const lines = Array.from(stderr.matchAll(/^LOCK-INC \d+: (.*)$/gm), ([, line]) =>
      line
        .replace(/ since [\dT:.Z-]+/g, '')
        .replace(/token \d+/g, 'token T')
        .replace(/process \d+ on \S+/g, 'process P on H')
        .replace(/[\d.]+ m?s\b/g, 'TIME'),
    )
    return { code, lines, stderr }
  }

  const life = `
    const run = async () => {
      const locker = lockFactory(args)
      const first = await locker.lock('User:1602', { expire: 30 })
      await locker.lock('User:1602').catch(() => {})
      const { channel } = require('node:diagnostics_channel')
      const waits = new Promise((resolve) => channel('lock-inc:wait').subscribe(resolve))
      const waiting = locker.lock('User:1602', { timeout: '20s' })
      await waits
      await first.extend(60)
      await first.unlock()
      const second = await waiting
      await locker.forceUnlock('User:1602')
      if (!second.signal.aborted) await new Promise((resolve) => { second.signal.onabort = resolve })
      await second.unlock()
      await locker.close()
    }
    run()
  `

  it('writes a line for each decision', async () => {
    const { code, lines } = await linesOf(life, spec())
    expect(code).toBe(0)
    const lock = '[debug:] "User:1602" (token T)'
    expect(lines).toEqual([
      '[debug:] #1 asks for "User:1602": exclusive, lease of TIME, without waiting',
      '[debug:] #1 granted "User:1602" (token T) after TIME',
      '[debug:] #2 asks for "User:1602": exclusive, lease of TIME, without waiting',
      expect.stringMatching(
        /^\[debug:\] #2 refused "User:1602" after TIME, held by process P on H( \(token T\))? for another TIME$/,
      ),
      '[debug:] #3 asks for "User:1602": exclusive, lease of TIME, waits for TIME',
      expect.stringMatching(
        /^\[debug:\] #3 waits for "User:1602", held( by process P on H( \(token T\))?)? for another TIME, at place 1$/,
      ),
      `${lock} extended to TIME`,
      expect.stringMatching(/released after TIME$|granted .* handed over$/),
      expect.stringMatching(/released after TIME$|granted .* handed over$/),
      `${lock} lost after TIME: purged`,
      `${lock} released after TIME, but it was not held any more`,
    ])
  })

  it('writes what is wrong with the connection, and no secret', async () => {
    const script = `
      const locker = lockFactory(args)
      locker.lock(['a', 'b'], { renew: true }).catch(() => locker.close())
    `
    const unreachable = await linesOf(script, spec({ port: await freePort() }))
    expect(unreachable.lines[0]).toBe(
      '[debug:] #1 asks for "a", "b": exclusive, renewed lease of TIME, without waiting',
    )
    expect(unreachable.lines[1]).toMatch(/^\[debug:\] Redis at 127\.0\.0\.1:\d+ could not be reached \(/)
    expect(unreachable.lines.at(-1)).toMatch(
      /^\[debug:\] #1 without "a", "b" after TIME: ConnectionError: Redis at/,
    )
    const refused = await linesOf(script, spec({ password: 'hunter3' }))
    expect(refused.lines.at(-1)).toMatch(/#1 without "a", "b" after TIME: RedisError: /)
    for (const { stderr } of [unreachable, refused]) expect(stderr).not.toMatch(/hunter/)
  })

  it('keeps a name on its line, whatever is in it, and within bounds', async () => {
    const script = `
      const locker = lockFactory({ driver: 'memory', settings: { prefix: 'm' } })
      locker.lock('a\\nLOCK-INC 1: b' + 'x'.repeat(100_000)).then(() => locker.close())
    `
    const { lines } = await linesOf(script)
    expect(lines).toHaveLength(2)
    for (const line of lines) {
      expect(line).toContain('"a\\nLOCK-INC 1: bxxx')
      expect(line.length).toBeLessThan(250)
    }
  })

  it('is silent if nobody asks for it', async () => {
    const { code, stderr } = await linesOf(life, spec(), { NODE_DEBUG: '' })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })
})
