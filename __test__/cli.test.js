'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { version } = require('../package.json')
const { lockInc, program } = require('./support/command-line')
const { commandScene } = require('./support/command-scene')
const { freePort, startRedis } = require('./support/redis-server')

const commands = fs
  .readdirSync(path.join(__dirname, '../bin/commands'))
  .map((file) => path.parse(file).name)
  .filter((name) => name !== 'index')

describe('lock-inc', () => {
  it('says which commands there are, and each of them what it does and how it ends', async () => {
    const { code, stdout } = await lockInc(['--help']).ended
    expect(code).toBe(0)
    for (const name of commands) {
      expect(stdout).toMatch(new RegExp(`^  ${name} +\\w`, 'm'))
      const own = await lockInc([name, '--help']).ended
      expect(own).toMatchObject({ code: 0, stderr: '' })
      expect(own.stdout).toMatch(new RegExp(`^Usage: lock-inc ${name} [^]*\nExit codes:\n[^]*\n  69 `))
      expect((await lockInc(['help', name]).ended).stdout).toBe(own.stdout)
    }
  })

  it('says its version', async () => {
    expect(await lockInc(['--version']).ended).toMatchObject({ code: 0, stdout: `${version}\n` })
  })

  it.each([
    [[], 'Usage: lock-inc COMMAND'],
    [['lss'], 'there is no command "lss"; did you mean ls?'],
    [['frobnicate'], 'there is no command "frobnicate"; there are '],
    [['help', 'unlok'], 'there is no command "unlok"; did you mean unlock?'],
    [['--json', 'ls'], 'the command comes first, before "--json"'],
    [['ls', '--jsn'], 'there is no option --jsn; did you mean --json?\nlock-inc ls --help says more'],
    [['ls', '-x'], 'there is no option -x'],
    [['ls', '--toString'], 'there is no option --toString'],
    [['ls', '--json=yes'], '--json takes no value'],
    [['ls', '--url'], '--url needs a value: URL'],
    [['ls', '--url='], '--url needs a value: URL'],
    [['ls', '--prefix', '--json'], '--prefix needs a value: TEXT. One that begins with - goes behind ='],
    [['ls', 'a', 'b'], 'there is one argument too many: "b"'],
    [['ls', '--sort', 'hel'], '--sort "hel": did you mean held?'],
    [
      ['ls', '--command-timeout', 'soon'],
      '--command-timeout must be seconds from 0.001 to 3600, or a time like',
    ],
    [
      ['ls', '--url', 'http://user:secret@host'],
      '--url has the scheme "http"; redis, rediss and unix are known',
    ],
    [['ls', '--db', 'x'], '--db must be a database number from 0 on'],
    [['ls', '--sentinels', 'a,b'], '--sentinels needs --name'],
    [
      ['ls', '--sentinels', 'a:b:c', '--name', 'x'],
      '--sentinels is a list of HOST:PORT with commas between them',
    ],
    [['ls', '--nodes', 'a', '--db', '3'], '--nodes does not go with database 3 of --db'],
    [['ls', '--config', '/no/such/file'], '--config: /no/such/file cannot be read (ENOENT)'],
    [['ls', '--config', program], `--config: ${program} is not JSON`],
    [['ls', '--ca', '/no/such/file'], '--ca: /no/such/file cannot be read (ENOENT)'],
    [['show'], 'NAME is missing'],
    [['show', ''], 'NAME is empty'],
    [['run', 'job'], 'COMMAND [ARGUMENT...] is missing: it comes after --'],
    [['run', 'job', 'true'], 'COMMAND [ARGUMENT...] is missing: it comes after --'],
    [['run', 'job', '--'], 'COMMAND [ARGUMENT...] is missing after --'],
    [['run', '--', 'job'], 'COMMAND [ARGUMENT...] is missing after --'],
    [['run', 'job', '-E', '256', '--', 'true'], '--conflict-exit-code must be a whole number from 0 to 255'],
    [['run', 'job', '--limit', '0', '--', 'true'], '--limit must be a whole number from 1 to 2147483647'],
    [
      ['run', 'job', '--expire', '0', '--', 'true'],
      '--expire must be seconds from 0.01 to 1000000000, or a time',
    ],
    [
      ['run', 'job', '--timeout', '-1', '--', 'true'],
      '--timeout needs a value: TIME. One that begins with -',
    ],
    [['run', 'job', '--timeout', '1', '--no-wait', '--', 'true'], '--timeout does not go with --no-wait'],
  ])('refuses %j, says why, and does nothing', async (args, message) => {
    const { code, stdout, stderr } = await lockInc(args).ended
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' })
    expect(stderr).toContain(message)
    expect(stderr).not.toContain('secret')
  })
})

describe('lock-inc, with Redis,', () => {
  const scene = commandScene()
  const { ask, environment, held, listed } = scene
  const url = () => `redis://127.0.0.1:${scene.server.port}`

  describe('finds Redis', () => {
    beforeEach(() => held('a'))

    it('by --url and --prefix, LOCK_INC_URL and LOCK_INC_PREFIX, and REDIS_URL', async () => {
      const prefix = scene.prefix
      expect(await listed(['--url', url(), '--prefix', prefix], {})).toEqual(['a'])
      expect(await listed([], { LOCK_INC_URL: url(), LOCK_INC_PREFIX: prefix })).toEqual(['a'])
      expect(await listed([], { REDIS_URL: url(), LOCK_INC_PREFIX: prefix })).toEqual(['a'])
      expect(await listed([], { REDIS_URL: url() })).toEqual([])
    })

    it('by the command line before the environment, and by LOCK_INC_URL before REDIS_URL', async () => {
      const wrong = `redis://127.0.0.1:${await freePort()}`
      const env = environment()
      expect(await listed(['--url', url()], { ...env, LOCK_INC_URL: wrong, REDIS_URL: wrong })).toEqual(['a'])
      expect(await listed([], { ...env, REDIS_URL: wrong })).toEqual(['a'])
      expect(await listed(['--prefix', scene.prefix], { ...env, LOCK_INC_PREFIX: 'other:' })).toEqual(['a'])
    })

    it('by a file with config, of which single options go before', async () => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-cli-'))
      try {
        const file = path.join(folder, 'config.json')
        fs.writeFileSync(file, JSON.stringify({ host: '127.0.0.1', port: scene.server.port, db: 3 }))
        const { LOCK_INC_PREFIX } = environment()
        const wrong = `redis://127.0.0.1:${await freePort()}`
        const env = { LOCK_INC_PREFIX, REDIS_URL: wrong }
        expect(await listed(['--config', file], env)).toEqual([])
        expect(await listed(['--config', file, '--db', '0'], env)).toEqual(['a'])
        expect(await listed(['--db', '0'], { ...env, LOCK_INC_CONFIG: file })).toEqual(['a'])
      } finally {
        fs.rmSync(folder, { recursive: true })
      }
    })
  })

  it('takes the password from LOCK_INC_PASSWORD', async () => {
    const server = await startRedis({ args: ['--requirepass', 'of the server'], password: 'of the server' })
    try {
      const args = ['ls', '--url', `redis://127.0.0.1:${server.port}`]
      const env = { LOCK_INC_PASSWORD: 'of the server' }
      expect(await lockInc(args, { env }).ended).toMatchObject({ code: 0, stderr: '' })
      const { code, stderr } = await lockInc(args).ended
      expect(code).toBe(69)
      expect(stderr).toBe('lock-inc: Redis wants a password: set LOCK_INC_PASSWORD (ERR_REDIS_NOAUTH)\n')
    } finally {
      await server.stop()
    }
  })

  it.each(['ls', 'show a', 'unlock a --yes'])('%s ends with 69 where there is no Redis', async (words) => {
    const env = { LOCK_INC_URL: `redis://:secret@127.0.0.1:${await freePort()}` }
    const { code, stdout, stderr } = await ask([...words.split(' '), '--command-timeout', '200ms'], { env })
    expect({ code, stdout }).toEqual({ code: 69, stdout: '' })
    expect(stderr).toMatch(
      /^lock-inc: Redis at 127\.0\.0\.1:\d+ could not be reached .*\(ERR_CONNECTION\)\n$/,
    )
  })
})
