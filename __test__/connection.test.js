'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const lockFactory = require('..')
const { FaultyProxy } = require('./support/proxy')
const { freePort, startRedis } = require('./support/redis-server')
const { rejection, until } = require('./support/until')

const pem = (name) => fs.readFileSync(path.join(__dirname, 'support/tls', `${name}.pem`))

// Ways to a server: what `config` says, and what is done while there is no connection.
describe('config', () => {
  let server
  let tlsPort
  let prefix
  let opened

  const newLocker = (config, settings = {}) => {
    const locker = lockFactory({ driver: 'redis', config, settings: { prefix, ...settings } })
    opened.push(locker)
    return locker
  }
  /** Whether a lock taken with this config is in this database of the server. */
  const locksIn = async (database, config, settings) => {
    const lock = await newLocker(config, settings).lock('resource')
    expect(lock.held).toBe(true)
    const client = server.client({ db: database })
    const found = await client.call('GET', `${config.prefix ?? ''}${prefix}${lockFactory.hash('resource')}`)
    await lock.unlock()
    return /^\d{13}000001$/.test(found)
  }

  beforeAll(async () => {
    tlsPort = await freePort()
    const tls = path.join(__dirname, 'support/tls')
    server = await startRedis({
      args: [
        ...['--tls-port', tlsPort, '--tls-ca-cert-file', `${tls}/ca.pem`],
        ...['--tls-cert-file', `${tls}/server.pem`, '--tls-key-file', `${tls}/server-key.pem`],
      ],
    })
  })

  afterAll(() => server.stop())

  beforeEach(() => {
    prefix = `${crypto.randomUUID()}:`
    opened = []
  })

  afterEach(() => Promise.all(opened.map((locker) => locker.close())))

  it('takes host and port, as a number or in a string', async () => {
    expect(await locksIn(0, { host: 'localhost', port: server.port })).toBe(true)
    expect(await locksIn(0, { host: '127.0.0.1', port: String(server.port) })).toBe(true)
  })

  it('takes path, the Unix socket', async () => {
    expect(await locksIn(0, { path: server.socket })).toBe(true)
    expect(await locksIn(2, { path: server.socket, db: 2 })).toBe(true)
  })

  it('takes url, whose parts win over the other options', async () => {
    expect(await locksIn(3, { url: `redis://localhost:${server.port}/3`, port: 1, db: 1 })).toBe(true)
    expect(await locksIn(4, { url: `//127.0.0.1:${server.port}?db=4` })).toBe(true)
    expect(await locksIn(5, { url: `redis://127.0.0.1:${server.port}`, db: 5 })).toBe(true)
    expect(await locksIn(0, { url: server.socket })).toBe(true)
    expect(await locksIn(0, { url: `unix:${server.socket}` })).toBe(true)
  })

  it.each([{ db: 3 }, { db: '3' }, { database: 3 }, { db: 3, database: 3 }])(
    'selects the database with %j',
    async (config) => {
      expect(await locksIn(3, { port: server.port, ...config })).toBe(true)
    },
  )

  it('is understood in camelCase too', async () => {
    const locker = newLocker({ port: await freePort(), maxAttempts: 1, retryMaxDelay: 10 })
    expect((await rejection(locker.lock('a'))).message).toContain('given up')
  })

  it('takes family', async () => {
    expect(await locksIn(0, { host: 'localhost', port: server.port, family: 'IPv4' })).toBe(true)
    const six = newLocker({ host: '127.0.0.1', port: server.port, family: 'IPv6' }, { commandTimeout: 100 })
    expect(await rejection(six.lock('a'))).toMatchObject({
      code: 'ERR_CONNECTION',
      cause: { code: 'ENOTFOUND' },
    })
  })

  it('says that a host has no address', async () => {
    const locker = newLocker({ host: 'no-such-host.invalid' }, { commandTimeout: 500 })
    expect(await rejection(locker.lock('a'))).toMatchObject({
      code: 'ERR_CONNECTION',
      cause: { code: 'ENOTFOUND' },
    })
  })

  it('sets TCP_NODELAY and keepalive without harm when it is told not to', async () => {
    expect(await locksIn(0, { port: server.port, socket_keepalive: false, socket_nodelay: false })).toBe(true)
  })

  it('takes the options that have no effect', async () => {
    const idle = { parser: 'hiredis', string_numbers: true, return_buffers: false, detect_buffers: true }
    const more = { no_ready_check: true, retry_unfulfilled_commands: true, disable_resubscribing: true }
    expect(
      await locksIn(0, { port: server.port, ...idle, ...more, rename_commands: {}, retry_unref: true }),
    ).toBe(true)
  })

  describe('credentials', () => {
    let guarded

    beforeAll(async () => {
      guarded = await startRedis({ args: ['--requirepass', 'pass word'] })
      guarded.admin = guarded.client({ password: 'pass word' })
      await guarded.admin.call('ACL', 'SETUSER', 'app', 'on', '>app:pass', '~*', '&*', '+@all')
    })

    afterAll(() => guarded.stop())

    it.each([
      ['password', () => ({ port: guarded.port, password: 'pass word' })],
      ['auth_pass', () => ({ port: guarded.port, auth_pass: 'pass word' })],
      ['username and password', () => ({ port: guarded.port, username: 'app', password: 'app:pass' })],
      ['a url with a password', () => ({ url: `redis://:pass%20word@localhost:${guarded.port}` })],
      ['a url with a user', () => ({ url: `redis://app:app%3Apass@localhost:${guarded.port}` })],
      [
        'a url with a password option',
        () => ({ url: `redis://localhost:${guarded.port}?password=pass+word` }),
      ],
    ])('are taken from %s', async (_, config) => {
      expect((await newLocker(config()).lock('resource')).token).toBeGreaterThan(0)
    })

    it('that are wrong are refused at once, and never shown', async () => {
      for (const config of [{ password: 'wrong-secret' }, { username: 'app', password: 'wrong-secret' }]) {
        const error = await rejection(newLocker({ port: guarded.port, ...config }).lock('resource'))
        expect(error).toMatchObject({
          name: 'RedisError',
          code: 'ERR_REDIS_WRONGPASS',
          resourceId: 'resource',
        })
        expect(error.cause.message).toMatch(/WRONGPASS/)
        expect(require('node:util').inspect(error)).not.toContain('wrong-secret')
      }
    })

    it('that are missing are asked for', async () => {
      const error = await rejection(newLocker({ port: guarded.port }).lock('resource'))
      expect(error).toMatchObject({ name: 'RedisError', code: 'ERR_REDIS_NOAUTH' })
      expect(error.message).toContain('config.password')
    })

    it('are taken again after a connection was lost, and work as soon as the server accepts them', async () => {
      const locker = newLocker({
        port: guarded.port,
        username: 'late',
        password: 'late',
        retry_max_delay: 50,
      })
      expect(await rejection(locker.lock('a'))).toMatchObject({ code: 'ERR_REDIS_WRONGPASS' })
      await guarded.admin.call('ACL', 'SETUSER', 'late', 'on', '>late', '~*', '&*', '+@all')
      await until(() => locker.lock('a').catch(() => false), 'the new user is accepted')
      await guarded.admin.call('CLIENT', 'KILL', 'USER', 'late')
      await locker.lock('b')
    })
  })

  describe('tls', () => {
    const ca = pem('ca')
    const client = { cert: pem('client'), key: pem('client-key') }

    it('verifies the server against an own authority, and shows a client certificate', async () => {
      expect(await locksIn(0, { host: 'localhost', port: tlsPort, tls: { ca, ...client } })).toBe(true)
      expect(
        await locksIn(2, { url: `rediss://localhost:${tlsPort}/2`, tls: { ca: [String(ca)], ...client } }),
      ).toBe(true)
      expect(await locksIn(0, { tls: { ca, ...client, host: '127.0.0.1', port: tlsPort } })).toBe(true)
    })

    it('expects the certificate of servername', async () => {
      const config = { host: '127.0.0.1', port: tlsPort }
      expect(await locksIn(0, { ...config, tls: { ca, ...client, servername: 'localhost' } })).toBe(true)
      const error = await rejection(
        newLocker({ ...config, tls: { ca, ...client, servername: 'other' } }).lock('a'),
      )
      expect(error).toMatchObject({
        name: 'ConnectionError',
        code: 'ERR_CONNECTION',
        cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
      })
      expect(error.message).toContain('config.tls')
    })

    it('refuses a server whose authority it does not know, unless it is told to trust it', async () => {
      const config = { host: 'localhost', port: tlsPort }
      expect(await rejection(newLocker({ ...config, tls: client }).lock('a'))).toMatchObject({
        cause: { code: 'SELF_SIGNED_CERT_IN_CHAIN' },
      })
      expect(await rejection(newLocker({ url: `rediss://localhost:${tlsPort}` }).lock('a'))).toMatchObject({
        cause: { code: 'SELF_SIGNED_CERT_IN_CHAIN' },
      })
      expect(await locksIn(0, { ...config, tls: { ...client, rejectUnauthorized: false } })).toBe(true)
    })

    it('fails where the server wants a client certificate and gets none', async () => {
      const locker = newLocker({ host: 'localhost', port: tlsPort, tls: { ca } }, { commandTimeout: 300 })
      expect(await rejection(locker.lock('a'))).toMatchObject({
        code: 'ERR_CONNECTION',
        cause: { code: 'ERR_TLS', message: expect.stringMatching(/certificate/i) },
      })
    })

    it('fails at a server that speaks none, and says so', async () => {
      const locker = newLocker({ host: 'localhost', port: server.port, tls: { ca } }, { commandTimeout: 300 })
      // Redis may have nothing to say to what it takes for the beginning of a command.
      const failure = async () => [await rejection(locker.lock('a'))].find(({ cause }) => cause)
      expect(await until(failure, 'it is known why')).toMatchObject({
        code: 'ERR_CONNECTION',
        message: expect.stringMatching(/(the server does not|does it) speak TLS on this port/),
      })
    })

    it('that is not set where the server expects it is asked about', async () => {
      const locker = newLocker({ host: 'localhost', port: tlsPort }, { commandTimeout: 300 })
      expect(await rejection(locker.lock('a'))).toMatchObject({
        code: 'ERR_CONNECTION',
        message: expect.stringContaining('if it expects TLS on this port, set config.tls'),
      })
    })
  })

  describe('without a connection', () => {
    it('max_attempts bounds the tries; after that every call is refused at once', async () => {
      const locker = newLocker({ port: await freePort(), max_attempts: 3, retry_max_delay: 1 })
      for (let call = 0; call < 3; call++) {
        const error = await rejection(locker.lock('a'))
        expect(error).toMatchObject({ name: 'ConnectionError', cause: { code: 'ECONNREFUSED' } })
        expect(error.message).toContain('given up')
      }
    })

    it('max_attempts: 1 means that a lost connection is not made again', async () => {
      const proxy = await FaultyProxy.to(server.port)
      const locker = newLocker({ port: proxy.port, max_attempts: 1 })
      await locker.lock('a')
      proxy.cut()
      await until(async () => (await rejection(locker.lock('b'))).message.includes('given up'))
      await proxy.close()
    })

    it('connect_timeout bounds the time that is spent on trying', async () => {
      const locker = newLocker({ port: await freePort(), connect_timeout: 100, retry_max_delay: 10 })
      const start = performance.now()
      expect((await rejection(locker.lock('a'))).message).toContain('given up')
      expect(performance.now() - start).toBeGreaterThanOrEqual(90)
    })

    it('enable_offline_queue: false refuses calls instead of letting them wait', async () => {
      const locker = newLocker({ port: await freePort(), enable_offline_queue: false })
      const error = await rejection(locker.lock('a'))
      expect(error).toMatchObject({ name: 'ConnectionError', code: 'ERR_CONNECTION' })
      expect(error.message).toContain('enable_offline_queue')
      const online = newLocker({ port: server.port, enable_offline_queue: false })
      await until(() => online.lock('a').catch(() => false), 'it is connected')
    })
  })

  describe('retry_strategy', () => {
    it('is asked with what node_redis tells it, and its number is the delay', async () => {
      const port = await freePort()
      const asked = []
      const locker = newLocker({
        port,
        retry_strategy: (options) => {
          asked.push(options)
          return 5
        },
      })
      await until(() => asked.length >= 3)
      expect(asked.slice(0, 3)).toEqual(
        [1, 2, 3].map((attempt) => ({
          attempt,
          error: expect.objectContaining({ code: 'ECONNREFUSED' }),
          times_connected: 0,
          timesConnected: 0,
          total_retry_time: expect.any(Number),
          totalRetryTime: expect.any(Number),
        })),
      )
      expect(require('node:util').types.isNativeError(asked[0].error)).toBe(true)
      const late = await startRedis({ port })
      const locking = locker.lock('a')
      await locking.finally(() => late.stop())
      await until(() => asked.at(-1).times_connected === 1)
    })

    it('may make lockers that have one themselves', async () => {
      const port = await freePort()
      const inner = []
      const retry_strategy = () => {
        if (inner.length === 0) inner.push(newLocker({ port, retry_strategy: () => undefined }))
        return undefined
      }
      const outer = newLocker({ port, retry_strategy })
      expect((await rejection(outer.lock('a'))).message).toContain('given up')
      expect((await rejection(inner[0].lock('a'))).message).toContain('given up')
    })

    it.each([
      ['an Error', () => new Error('enough'), 'enough'],
      ['no number', () => undefined, 'refused'],
      [
        'a throw',
        () => {
          throw new Error('broken strategy')
        },
        'broken strategy',
      ],
    ])(
      'that answers with %s ends it, and every call is refused with the reason',
      async (_, answer, reason) => {
        const locker = newLocker({ port: await freePort(), retry_strategy: answer })
        const error = await rejection(locker.lock('a'))
        expect(error).toMatchObject({ name: 'ConnectionError', code: 'ERR_CONNECTION' })
        expect(error.message).toContain('given up')
        expect(error.cause.message).toContain(reason)
      },
    )
  })

  it('warns once where `database` is used, which 1.2.0 ignored', async () => {
    const { runNode } = require('./support/child')
    const script = `
      process.on('warning', ({ code, message }) => tell({ code, message }))
      for (const config of [{ db: 1 }, { database: 0 }, { url: 'redis://h/1', database: 2 }, { database: 1 }, { database: 2 }]) {
        lockFactory({ driver: 'redis', config, settings: { prefix: 'x' } })
      }
    `
    const { messages } = await runNode(script).ended
    expect(messages).toEqual([{ code: 'LOCK_INC_DATABASE', message: expect.stringContaining('config.db') }])
  })
})
