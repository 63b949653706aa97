'use strict'

const lockFactory = require('..')

// Wrong arguments throw at once, in plain words, before anything is sent.
describe('wrong arguments', () => {
  const settings = { prefix: 'arguments:' }
  const redis = (config) => () => lockFactory({ driver: 'redis', config, settings })
  let locker

  beforeAll(() => {
    locker = lockFactory({ driver: 'memory', settings })
  })

  afterAll(() => locker.close())

  /** Name, code and message of what is thrown. */
  const thrownBy = (call) => {
    try {
      call()
    } catch (error) {
      expect(error).toBeInstanceOf({ TypeError, RangeError }[error.name])
      return `${error.name} ${error.code}: ${error.message}`
    }
    throw new Error(`Did not throw: ${call}`)
  }

  it.each([
    [undefined, 'lockFactory needs an object: { driver, config, settings }'],
    [null, 'lockFactory needs an object: { driver, config, settings }'],
    ['redis', 'spec must be an object, got "redis"'],
    [[], 'spec must be an object, got an array'],
    [{ driver: 'memory', settings: 'lock:' }, 'settings must be an object, got "lock:"'],
    [{ driver: 'memory', settings: { prefix: 42 } }, 'settings.prefix must be a string, got 42'],
    [{ driver: 'redis', settings, config: 6379 }, 'config must be an object, got 6379'],
  ])('lockFactory(%j)', (spec, message) => {
    expect(thrownBy(() => lockFactory(spec))).toBe(`TypeError ERR_INVALID_ARG_TYPE: ${message}`)
  })

  it.each([{}, { driver: 'none' }, { driver: 42 }, { driver: '', settings }, { driver: 'Redis', settings }])(
    'lockFactory(%j): the driver is not supported',
    (spec) => {
      expect(thrownBy(() => lockFactory(spec))).toBe(
        'TypeError ERR_DRIVER_NOT_SUPPORTED: Driver not supported',
      )
    },
  )

  it.each([undefined, null, {}, { prefix: '' }, { prefix: null }, { prefix: 0 }])(
    'settings %j: the prefix is required',
    (none) => {
      for (const driver of ['redis', 'memory']) {
        const thrown = thrownBy(() => lockFactory({ driver, settings: none }))
        expect(thrown).toBe('TypeError ERR_PREFIX_REQUIRED: Prefix required')
      }
    },
  )

  it.each([
    [() => lockFactory({ drivr: 'redis', settings }), 'spec has no option "drivr"; did you mean "driver"?'],
    [
      () => lockFactory({ driver: 'memory', settings: { prefix: 'x', prefx: 1 } }),
      'settings has no option "prefx"; did you mean "prefix"?',
    ],
    [redis({ hots: 'a' }), 'config has no option "hots"; did you mean "host"?'],
    [redis({ retryMaxDely: 1 }), 'config has no option "retryMaxDely"; did you mean "retry_max_delay"?'],
    [redis({ tls: { servrname: 'x' } }), 'config.tls has no option "servrname"; did you mean "servername"?'],
    [() => locker.lock('a', { expires: 1 }), 'options has no option "expires"; did you mean "expire"?'],
    [
      () => locker.lock('a', { retryIntervall: 1 }),
      'options has no option "retryIntervall"; did you mean "retryInterval"?',
    ],
    [
      () => locker.lock('a', { zzz: 1 }),
      'options has no option "zzz"; known ones are expire, mode, limit, steal, retry, maxRetryAttempts, retryInterval, timeout, signal, ' +
        'renew, maxHold, maxBlocked',
    ],
  ])('an unknown option, case %#, is refused with the nearest one', (call, message) => {
    expect(thrownBy(call)).toBe(`TypeError ERR_UNKNOWN_OPTION: ${message}`)
  })

  it.each([
    [
      'memory',
      { replicas: 1 },
      "settings.replicas is about servers: it does not go with driver 'memory', whose locks have no replicas",
    ],
    [
      'redis',
      { replicaTimeout: 1 },
      'settings.replicaTimeout is about settings.replicas: it needs that, too',
    ],
    ['redis', { replicas: '1' }, 'settings.replicas must be a whole number from 0 to 2147483647, got "1"'],
  ])('settings that are of no use for driver %s, as %j, are refused', (driver, more, message) => {
    const make = () => lockFactory({ driver, settings: { ...settings, ...more } })
    expect(thrownBy(make)).toBe(`TypeError ERR_INVALID_ARG_TYPE: ${message}`)
  })

  it('settings for replicas that ask for none are accepted with each driver', async () => {
    for (const driver of ['memory', 'redis']) {
      const more = { replicas: 0, replicaTimeout: '1s' }
      await lockFactory({ driver, settings: { ...settings, ...more } }).close()
    }
  })

  const port = 'config.port must be a port from 1 to 65535'
  const db = 'config.db must be a database number from 0 on'
  const ms = 'must be a whole number of milliseconds from 1 to 2147483647'
  it.each([
    [{ port: 0 }, 'RangeError', `${port}, got 0`],
    [{ port: 65536 }, 'RangeError', `${port}, got 65536`],
    [{ port: -1 }, 'RangeError', `${port}, got -1`],
    [{ port: 1.5 }, 'RangeError', `${port}, got 1.5`],
    [{ port: Number.NaN }, 'RangeError', `${port}, got NaN`],
    [{ port: 'http' }, 'RangeError', `${port}, got "http"`],
    [{ port: {} }, 'TypeError', `${port}, got an object`],
    [{ db: -1 }, 'RangeError', `${db}, got -1`],
    [{ db: Number.POSITIVE_INFINITY }, 'RangeError', `${db}, got Infinity`],
    [{ db: true }, 'TypeError', `${db}, got true`],
    [{ db: 1, database: 2 }, 'RangeError', 'config.db is 1, but config.database is 2: they mean the same'],
    [{ host: 42 }, 'TypeError', 'config.host must be a string, got 42'],
    [{ host: '' }, 'TypeError', 'config.host must be a non-empty string, got ""'],
    [
      { path: '/x', tls: {} },
      'RangeError',
      'config.tls does not go with config.path: a Unix socket has no TLS',
    ],
    [{ password: 42 }, 'TypeError', 'config.password must be a string'],
    [{ family: 'IPv5' }, 'RangeError', `config.family must be 'IPv4', 'IPv6', 4, 6 or 0, got "IPv5"`],
    [{ tls: 'yes' }, 'TypeError', 'config.tls must be an object, got "yes"'],
    [{ tls: { ca: 42 } }, 'TypeError', 'config.tls.ca must be PEM text in a string or a Buffer'],
    [{ tls: { ca: 'x' } }, 'TypeError', 'config.tls.ca has no PEM certificate'],
    [{ tls: { key: 'x' } }, 'TypeError', 'config.tls.cert is missing: a key alone is of no use'],
    [
      { tls: { rejectUnauthorized: 'no' } },
      'TypeError',
      'config.tls.rejectUnauthorized must be true or false, got "no"',
    ],
    [{ connect_timeout: 0 }, 'RangeError', `config.connect_timeout ${ms}, got 0`],
    [{ retry_max_delay: '9' }, 'TypeError', `config.retry_max_delay ${ms}, got "9": write 9 or '9ms'`],
    [
      { max_attempts: -1 },
      'RangeError',
      'config.max_attempts must be a whole number from 0 on (0: no limit), got -1',
    ],
    [{ retry_strategy: 5 }, 'TypeError', 'config.retry_strategy must be a function, got 5'],
    [{ enable_offline_queue: 1 }, 'TypeError', 'config.enable_offline_queue must be true or false, got 1'],
    [
      { rename_commands: { DEL: 'X' } },
      'TypeError',
      'config.rename_commands is not supported: the scripts call commands by their own names',
    ],
    [{ stream: {} }, 'TypeError', 'config.stream is not supported: use host and port, path, or url'],
    [{ url: 'http://h' }, 'RangeError', 'config.url has the scheme "http"; redis, rediss and unix are known'],
  ])('config %j', (config, name, message) => {
    const code = name === 'TypeError' ? 'ERR_INVALID_ARG_TYPE' : 'ERR_OUT_OF_RANGE'
    expect(thrownBy(redis(config))).toBe(`${name} ${code}: ${message}`)
  })

  it('never quotes a password', () => {
    for (const config of [
      { url: 'redis://:hunter2@host:99999' },
      { url: 'hunter2' },
      { url: 'redis://h?passwd=hunter2' },
      { password: ['hunter2'] },
      { username: 'x', auth_pass: { hunter2: 1 } },
    ]) {
      expect(thrownBy(redis(config))).not.toContain('hunter2')
    }
  })

  const expire = 'options.expire must be a number of seconds from 0.01 to 1e9'
  const interval = 'options.retryInterval must be a number of milliseconds from 0 to 2147483647'
  const timeout = 'options.timeout must be a number of milliseconds from 0 on, or Infinity'
  const seconds = 'must be a number of seconds from 0.01 to 1e9'
  const attempts = 'options.maxRetryAttempts must be a whole number from 0 on, or Infinity'
  it.each([
    [{ expire: -1 }, 'RangeError', `${expire}, got -1`],
    [{ expire: Number.NaN }, 'RangeError', `${expire}, got NaN`],
    [{ expire: Number.POSITIVE_INFINITY }, 'RangeError', `${expire}, got Infinity`],
    [{ expire: 1e10 }, 'RangeError', `${expire}, got 10000000000`],
    [{ expire: 0.0001 }, 'RangeError', `${expire}, got 0.0001`],
    [{ expire: '5' }, 'TypeError', `${expire}, got "5": write 5 or '5s'`],
    [{ expire: 5n }, 'TypeError', `${expire}, got 5`],
    [{ expire: () => 1 }, 'TypeError', `${expire}, got a function`],
    [{ expire: Symbol('s') }, 'TypeError', `${expire}, got a symbol`],
    [{ retry: 'yes' }, 'TypeError', 'options.retry must be true or false, got "yes"'],
    [{ retryInterval: -1 }, 'RangeError', `${interval}, got -1`],
    [{ retryInterval: Number.POSITIVE_INFINITY }, 'RangeError', `${interval}, got Infinity`],
    [{ retryInterval: '1' }, 'TypeError', `${interval}, got "1": write 1 or '1ms'`],
    [{ maxRetryAttempts: -1 }, 'RangeError', `${attempts}, got -1`],
    [{ maxRetryAttempts: 1.5 }, 'RangeError', `${attempts}, got 1.5`],
    [{ maxRetryAttempts: Number.NaN }, 'RangeError', `${attempts}, got NaN`],
    [{ timeout: -1 }, 'RangeError', `${timeout}, got -1`],
    [{ timeout: Number.NaN }, 'RangeError', `${timeout}, got NaN`],
    [{ timeout: '1' }, 'TypeError', `${timeout}, got "1": write 1 or '1ms'`],
    [
      { timeout: 1, maxRetryAttempts: 1 },
      'TypeError',
      'options.timeout does not go with options.maxRetryAttempts: both say how long to wait',
    ],
    [{ renew: 1 }, 'TypeError', 'options.renew must be true or false, got 1'],
    [{ renew: true, maxHold: 0 }, 'RangeError', `options.maxHold ${seconds}, got 0`],
    [{ renew: true, maxHold: '1' }, 'TypeError', `options.maxHold ${seconds}, got "1": write 1 or '1s'`],
    [{ renew: true, maxBlocked: -1 }, 'RangeError', `options.maxBlocked ${seconds}, got -1`],
    [{ maxHold: 1 }, 'TypeError', 'options.maxHold is about renewal: it needs options.renew'],
    [{ maxBlocked: 1 }, 'TypeError', 'options.maxBlocked is about renewal: it needs options.renew'],
    [{ signal: 'x' }, 'TypeError', 'options.signal must be an AbortSignal'],
    ['5', 'TypeError', 'options must be an object, got "5"'],
    [[], 'TypeError', 'options must be an object, got an array'],
  ])('lock options, case %#: %p', (options, name, message) => {
    const code = name === 'TypeError' ? 'ERR_INVALID_ARG_TYPE' : 'ERR_OUT_OF_RANGE'
    expect(thrownBy(() => locker.lock('resource', options))).toBe(`${name} ${code}: ${message}`)
  })

  const falsy = 'Could not hash falsy value'
  const noString = 'Can not hash value which is not a string'
  it.each([
    [undefined, falsy, 'undefined'],
    [null, falsy, 'null'],
    ['', falsy, '""'],
    [0, falsy, '0'],
    [42, noString, '42'],
    [{}, noString, 'an object'],
    [['a'], noString, 'an array'],
    [() => {}, noString, 'a function'],
  ])('resource %p', (resource, what, shown) => {
    expect(() => lockFactory.hash(resource)).toThrow(new TypeError(what))
    // `lock` takes several.
    const others = Array.isArray(resource) ? [] : ['lock']
    for (const method of [...others, 'isLocked', 'unlock']) {
      const message = `${what}: resourceId must be a non-empty string, got ${shown}`
      expect(thrownBy(() => locker[method](resource))).toBe(`TypeError ERR_INVALID_ARG_TYPE: ${message}`)
    }
  })

  it.each([0, -1, 1.5, 3_600_001, Number.NaN])('settings.commandTimeout %p', (commandTimeout) => {
    const thrown = thrownBy(() =>
      lockFactory({ driver: 'memory', settings: { prefix: 'x', commandTimeout } }),
    )
    expect(thrown).toContain(
      'RangeError ERR_OUT_OF_RANGE: settings.commandTimeout must be a whole number of milliseconds',
    )
  })

  it('in a long string are shown short', () => {
    const thrown = thrownBy(() => locker.lock('a', { expire: 'x'.repeat(1000) }))
    expect(thrown.length).toBeLessThan(200)
  })

  it('behind a getter that throws: its own error comes out', () => {
    const options = {
      get expire() {
        throw new Error('from the getter')
      },
    }
    expect(() => locker.lock('a', options)).toThrow('from the getter')
  })

  it.each([undefined, null, 'text', 42, { code: 1 }])(
    'behind a getter that throws %p: just that comes out',
    (thrown) => {
      const options = {
        get expire() {
          throw thrown
        },
      }
      let caught = 'nothing'
      try {
        locker.lock('a', options)
      } catch (error) {
        caught = error
      }
      expect(caught).toBe(thrown)
    },
  )

  it('leave nothing locked', async () => {
    expect(() => locker.lock('untouched', { expire: -1 })).toThrow(RangeError)
    expect(await locker.isLocked('untouched')).toBe(false)
  })
})
