'use strict'

const { inspect } = require('node:util')
const lockFactory = require('..')
const { readExtend, readLock } = require('../lib/options/lock')
const { readRequest } = require('../lib/options/request')
const { readSpec } = require('../lib/options/spec')
const table = require('../lib/options/table')
const { runNode } = require('./support/child')
const {
  besides,
  everyOption,
  groups,
  isNumeric,
  optionsThat,
  readRedis,
  settings,
  spec,
} = require('./support/options')
const { rejection } = require('./support/until')

/** What a call throws. */
const thrownBy = (call) => {
  try {
    call()
  } catch (error) {
    return error
  }
  throw new Error(`Did not throw: ${call}`)
}

/** Values of a wrong type, for each type of option that takes not just anything. */
const wrong = {
  boolean: ['yes', 1, {}],
  booleanOrObject: ['yes', 1, []],
  choice: [true, {}, Symbol('s')],
  function: [5, 'f', {}],
  host: [42, true, [], ''],
  integer: [true, {}, [1], 5n],
  keyword: ['other', 42, {}],
  list: ['x', 42, {}],
  object: ['x', 42, []],
  pem: [42, {}, [42], [null]],
  refused: [1, 'x', {}],
  refusedUnlessEmpty: [1, 'x', [], { a: 1 }],
  secret: [42, {}, ['x']],
  signal: [5, 'x', {}, { aborted: false }],
  string: [42, {}, ['x'], ''],
  time: [
    true,
    {},
    [1],
    5n,
    '5',
    '5 s',
    ' 5s',
    '5s\n',
    '5S',
    's',
    '-5s',
    '1e3ms',
    'Infinitys',
    '5 sec',
    '.5s',
    '5.s',
  ],
}

/** A value that is accepted and is not the default. */
function sample({ type, name, min, values }) {
  switch (type) {
    case 'boolean':
    case 'truth':
      return ['renew', 'retry', 'cluster'].includes(name)
    case 'list':
      return [{ host: 'sample' }]
    case 'object':
      return { 'sample:1': { host: 'sample', port: 2 } }
    case 'booleanOrObject':
      return true
    case 'choice':
    case 'keyword':
      return values[0]
    case 'function':
      return () => {}
    case 'integer':
    case 'time':
      return min + 3
    default:
      return 'sample'
  }
}

describe('every option of the table', () => {
  it.each(optionsThat(({ type }) => type in wrong))(
    '%s refuses values of a wrong type',
    (_, option, { read }) => {
      for (const value of wrong[option.type]) {
        const error = thrownBy(() => read({ [option.name]: value }))
        expect(error).toBeInstanceOf(TypeError)
        if (option.required && (!value || option.type === 'choice')) {
          expect(error).toMatchObject(option.required)
        } else {
          expect(error.code).toBe('ERR_INVALID_ARG_TYPE')
          expect(error.message.startsWith(`${option.path} `)).toBe(true)
        }
      }
    },
  )

  it.each(optionsThat(isNumeric))(
    '%s accepts what is in its range, and nothing else',
    (_, option, { read }) => {
      const { name, min, max, whole, type, unit } = option
      const given = (value) => () => read({ [name]: value })
      const within = [min, Number.isFinite(max) ? max : 1e15, max]
      for (const value of within) expect(given(value)).not.toThrow()

      const beyond = [Number.NaN, -1, min === 0.01 ? 0.009 : min - 1]
      if (Number.isFinite(max)) beyond.push(max + 1, Number.POSITIVE_INFINITY)
      if (whole || type === 'integer') beyond.push(min + 0.5)
      for (const value of beyond) {
        expect(thrownBy(given(value))).toMatchObject({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' })
      }
      if (type === 'time') {
        for (const value of within.filter(Number.isFinite)) {
          const text = `${value < 1 ? value.toFixed(3) : value}${unit}`
          expect(read({ [name]: text })).toEqual(read({ [name]: value }))
        }
        for (const value of beyond.filter((value) => value > 0 && Number.isFinite(value))) {
          expect(thrownBy(given(`${value}${unit}`)).name).toBe('RangeError')
        }
        if (min > 0) expect(thrownBy(given(`0${unit}`)).name).toBe('RangeError')
      }
    },
  )

  it.each(everyOption)('%s that is undefined or null was not given', (_, option, { read }) => {
    for (const nothing of [undefined, null]) {
      if (option.required || option.name === 'settings') {
        expect(thrownBy(() => read({ [option.name]: nothing })).name).toBe('TypeError')
      } else if (option.name !== 'renew') {
        expect(read({ [option.name]: nothing })).toEqual(read({}))
      }
    }
  })

  const aliases = { user: 'username', auth_pass: 'password', database: 'db', socket_initial_delay: undefined }
  it.each(optionsThat((option) => table.config.options.includes(option) && option.effect !== 'refused'))(
    '%s may be written in camelCase',
    (_, option) => {
      const value = sample(option)
      const camel = option.name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())
      const beside = besides(option.name)
      const inSnakeCase =
        option.type === 'secret' && option.name === 'url'
          ? { url: 'redis://h' }
          : { ...beside, [option.name]: value }
      const inCamelCase = { ...beside, [camel]: inSnakeCase[option.name] }
      expect(readRedis(inCamelCase)).toEqual(readRedis(inSnakeCase))
      if (option.effect === 'none') expect(readRedis(inSnakeCase)).toEqual(readRedis({}))
      else expect(readRedis(inSnakeCase)).not.toEqual(readRedis(beside))
      if (option.aliasOf) expect(readRedis(inSnakeCase)).toEqual(readRedis({ [option.aliasOf]: value }))
      expect(option.aliasOf).toBe(aliases[option.name])
    },
  )

  it('has a default that is what is read where nothing is given', () => {
    for (const [group, names] of Object.entries({
      lock: { expire: 'expire', retryInterval: 'retryInterval' },
      request: { expire: 'expire', timeout: 'wait', mode: 'mode' },
      config: {
        host: 'host',
        port: 'port',
        db: 'database',
        retry_max_delay: 'maxDelay',
        socket_nodelay: 'nodelay',
      },
    })) {
      for (const [name, field] of Object.entries(names)) {
        expect([name, groups[group].read({})[field]]).toEqual([name, table.defaultOf(table[group], name)])
      }
    }
    expect(readLock({ retry: true }).wait).toBe(20 * 200)
    expect(readSpec(spec).checked.commandTimeout).toBe(10_000)
    expect(readRedis({})).toMatchObject({ replicas: 0, replicaTimeout: 1000 })
  })
})

describe('options', () => {
  const withPrototype = (additions, work) => {
    Object.assign(Object.prototype, additions)
    try {
      return work()
    } finally {
      for (const name of Object.keys(additions)) delete Object.prototype[name]
    }
  }

  it('are own properties: what is on Object.prototype is neither read nor refused', async () => {
    const additions = {
      each: () => {},
      expire: 'x',
      renew: 'x',
      url: 'x',
      path: '/x',
      tls: 'x',
      port: 1,
      host: 'x',
      driver: 'x',
      commandTimeout: 'x',
      ifAvailable: true,
    }
    const given = { rename_commands: {}, tls: {} }
    const [redis, lock, request] = [readRedis(given), readLock({}), readRequest({})]
    withPrototype(additions, () => {
      expect({ ...readRedis(given) }).toEqual({ ...redis })
      expect({ ...readLock({}) }).toEqual({ ...lock })
      expect({ ...readRequest({}) }).toEqual({ ...request })
      expect(readRedis({ url: 'redis://a:1' })).toMatchObject({
        host: 'a',
        port: 1,
        path: undefined,
        tls: undefined,
      })
    })
    const locker = withPrototype(additions, () => lockFactory(spec))
    const locking = withPrototype(additions, () => locker.lock('beside a prototype', {}))
    expect((await locking).remaining()).toBeGreaterThan(50_000)
    await locker.close()
  })

  it('of a prototype of their own are not read, and not refused', () => {
    class Options {
      get expire() {
        throw new Error('read')
      }
    }
    const inherited = Object.assign(Object.create({ expires: 1 }), { expire: 5 })
    expect(readLock(new Options()).expire).toBe(60_000)
    expect(readLock(inherited).expire).toBe(5000)
    expect(readLock(Object.assign(Object.create(null), { expire: 5 })).expire).toBe(5000)
  })

  it('that are hidden are read, and those that do not exist are not refused', () => {
    const options = Object.defineProperties({}, { expire: { value: 5 }, __observer__: { value: {} } })
    expect(readLock(options).expire).toBe(5000)
  })

  it.each(Object.entries(groups))('of %s are read once each, by getters too', (group, { read }) => {
    const reads = {}
    const options = {}
    for (const option of table[group].options) {
      if (
        option.effect === 'refused' ||
        ['maxRetryAttempts', 'ifAvailable', 'steal', 'path'].includes(option.name)
      )
        continue
      const values = {
        config: group === 'spec' ? {} : undefined,
        driver: 'redis',
        nodes: undefined,
        cluster: false,
        natMap: undefined,
        sentinels: undefined,
        name: undefined,
        sentinelUsername: undefined,
        sentinelPassword: undefined,
        sentinelTls: undefined,
        settings,
        signal: new AbortController().signal,
        tls: undefined,
        mode: 'shared',
        steal: false,
        url: 'redis://h',
        db: 3,
        database: 3,
      }
      const value = option.name in values ? values[option.name] : sample(option)
      const get = () => {
        reads[option.name] = (reads[option.name] ?? 0) + 1
        return value
      }
      Object.defineProperty(options, option.name, { get, enumerable: true })
    }
    if (group === 'spec' || group === 'settings') {
      readSpec(group === 'spec' ? options : { driver: 'redis', settings: options })
    } else if (group === 'tls') readRedis({ tls: options })
    else if (group === 'node') readRedis({ nodes: [options] })
    else if (group === 'config') readRedis(options)
    else if (group === 'lock') readLock(options)
    else if (group === 'request') readRequest(options)
    else read(options)
    expect(reads).toEqual(Object.fromEntries(Object.keys(options).map((name) => [name, 1])))
  })
})

describe('a time in a string', () => {
  it.each([
    ['250ms', 250],
    ['1.5s', 1500],
    ['0.29s', 290],
    ['1.001s', 1001],
    ['30s', 30_000],
    ['1.1m', 66_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['1.5d', 129_600_000],
  ])('%s is %p ms, whatever unit a number would have', (text, ms) => {
    expect(readLock({ expire: text }).expire).toBe(ms)
    expect(readLock({ timeout: text }).wait).toBe(ms)
    expect(readExtend(text)).toBe(ms)
    expect(readRedis({ connect_timeout: text, retryMaxDelay: text })).toMatchObject({
      maxTime: ms,
      maxDelay: ms,
    })
  })

  it('is taken where a time is given', async () => {
    const locker = lockFactory({ ...spec, settings: { ...settings, commandTimeout: '2s' } })
    const lock = await locker.lock('with times in strings', {
      expire: '30s',
      renew: true,
      maxHold: '20s',
      maxBlocked: '1m',
    })
    expect(lock.remaining()).toBeGreaterThan(15_000)
    expect(lock.remaining()).toBeLessThanOrEqual(20_000)
    expect(await lock.extend('5s')).toBe(true)
    expect(lock.remaining()).toBeLessThanOrEqual(5000)
    const start = performance.now()
    const error = await rejection(
      locker.lock('with times in strings', { timeout: '80ms', retryInterval: '10ms' }),
    )
    expect(error).toBeInstanceOf(lockFactory.ResourceLockedError)
    expect(performance.now() - start).toBeGreaterThanOrEqual(75)
    expect(
      (await rejection(locker.request('with times in strings', { timeout: '10ms' }, () => {}))).code,
    ).toBe('ERR_RESOURCE_LOCKED')
    await locker.close()
  })

  it('that has no unit is refused with what to write', () => {
    const lock = (options) => thrownBy(() => readLock(options)).message
    expect(lock({ expire: '5' })).toMatch(/got "5": write 5 or '5s'$/)
    expect(lock({ timeout: '1500' })).toMatch(/got "1500": write 1500 or '1500ms'$/)
    expect(lock({ timeout: 'soon' })).toMatch(
      /got "soon": write a number and its unit, ms, s, m, h or d: '250ms'$/,
    )
    expect(thrownBy(() => readExtend('0.5')).message).toMatch(/^seconds .* write 0.5 or '0.5s'$/)
  })
})

it('An expire of more than a day emits one warning, unless it has a unit', async () => {
  const script = `
    process.on('warning', ({ name, code, message }) => tell({ name, code, message }))
    const locker = lockFactory(args)
    for (const expire of [86400, '2d', 100000, 200000]) locker.lock('a' + expire, { expire })
    locker.request('b', { expire: 100000 }, () => {}).then(() => locker.close())
  `
  const { messages } = await runNode(script, spec).ended
  expect(messages).toEqual([
    { name: 'LockIncWarning', code: 'LOCK_INC_EXPIRE', message: expect.stringContaining("write '100000ms'") },
  ])
})

describe('an error of the options', () => {
  const redis = (config) => () => lockFactory({ driver: 'redis', config, settings })
  const url = 'redis://:hunter2@host'

  it.each([
    () => lockFactory(url),
    () => lockFactory({ driver: 'memory', settings: url }),
    () => lockFactory({ driver: 'memory', settings: { prefix: 'x', [url]: 1 } }),
    redis(url),
    redis('hunter2'),
    ...['host', 'port', 'db', 'max_attempts', 'family', 'tls', 'retry_strategy', 'connect_timeout'].map(
      (name) => redis({ [name]: url }),
    ),
    redis({ host: 'user:hunter2@host' }),
    redis({ tls: { host: url } }),
    redis({ tls: { port: 'hunter2@host' } }),
    redis({ [url]: true }),
    redis({ password: ['hunter2'] }),
    redis({ auth_pass: { hunter2: 1 } }),
    redis({ prefix: ['hunter2'] }),
    redis({ tls: { key: { hunter2: 1 } } }),
    redis({ tls: { cert: 'hunter2', key: 'hunter2' } }),
    ...[
      'hunter2',
      'hunter2:x',
      'hunter2://x',
      'redis:hunter2',
      'redis://:hunter2@host:99999',
      'redis://:hunter2@host:0',
      'redis://host:hunter2',
      'redis://:%ffhunter2@host',
      'redis://host/hunter2',
      'redis://host/1?db=2&password=hunter2',
      'redis://host?db=hunter2',
      'redis://host?hunter2=1',
      'unix://hunter2/run/redis.sock',
      'unix:hunter2',
      'http://:hunter2@host',
    ].map((url) => redis({ url })),
  ])('shows no secret, case %#', (call) => {
    const error = thrownBy(call)
    expect(['TypeError', 'RangeError']).toContain(error.name)
    expect(
      `${inspect(error, { depth: 9, showHidden: true })}${error.message}`.replace(/^ +at .*$/gm, ''),
    ).not.toContain('hunter2')
  })

  it.each(optionsThat(({ secret }) => secret))('shows no value of %s', (_, option, { read }) => {
    for (const value of [42424242, 42424242n]) {
      expect(thrownBy(() => read({ [option.name]: value })).message).not.toContain('42424242')
    }
  })

  it('says where a URL belongs', () => {
    for (const host of ['redis://host', 'user@host']) {
      expect(thrownBy(redis({ host }))).toMatchObject({
        name: 'RangeError',
        code: 'ERR_OUT_OF_RANGE',
        message: 'config.host must be a host name or an address, not a URL: for that there is config.url',
      })
    }
  })

  it('shows in its stack who has called', () => {
    function theCaller(call) {
      // Not returned at once: a tail call may leave no frame.
      const error = thrownBy(call)
      return error
    }
    const locker = lockFactory(spec)
    for (const [call, Class] of [
      [() => lockFactory({}), TypeError],
      [() => locker.lock(''), TypeError],
      [() => locker.lock('a', { expire: -1 }), RangeError],
      [redis({ port: 0 }), RangeError],
      [redis({ tls: { ca: 'x' } }), TypeError],
    ]) {
      const error = theCaller(call)
      expect(Object.getPrototypeOf(error)).toBe(Class.prototype)
      expect(error.stack).toContain('theCaller')
    }
    return locker.close()
  })
})

describe('an option that does not exist', () => {
  const message = (call) => thrownBy(call).message

  it.each([
    ['hots', 'host'],
    ['Host', 'host'],
    ['passwrod', 'password'],
    ['pass', 'password'],
    ['authpass', 'auth_pass'],
    ['retryMaxDely', 'retry_max_delay'],
    ['conect_timeout', 'connect_timeout'],
    ['enableOfflineQueu', 'enable_offline_queue'],
  ])('%s is refused with the nearest one, %s', (name, near) => {
    expect(message(() => readRedis({ [name]: 1 }))).toBe(
      `config has no option "${name}"; did you mean "${near}"?`,
    )
  })

  it.each(['?', 'zzz', 'ttl', 'constructor', '__proto__', 'x'.repeat(1000)])(
    '%s is refused with all there are',
    (name) => {
      const options = JSON.parse(`{ ${JSON.stringify(name)}: 1 }`)
      expect(message(() => readLock(options))).toMatch(
        / has no option ".{1,40}"…?; known ones are expire, mode, limit, steal, /,
      )
    },
  )
})

describe('config.url', () => {
  const none = { path: undefined, username: undefined, password: undefined, tls: undefined, database: 0 }
  const there = { ...none, host: '127.0.0.1', port: 6379 }

  it.each([
    [
      'rediss://us%40er:p%3Ass@redis.example:7000/3',
      {
        host: 'redis.example',
        port: 7000,
        username: 'us@er',
        password: 'p:ss',
        database: 3,
        tls: expect.any(Object),
      },
    ],
    ['redis://127.0.0.1', there],
    ['redis://', there],
    ['redis:///2', { ...there, database: 2 }],
    ['//localhost:7000', { ...there, host: 'localhost', port: 7000 }],
    ['redis://[::1]:7000', { ...there, host: '::1', port: 7000 }],
    ['redis://:secret@h?db=2', { ...there, host: 'h', password: 'secret', database: 2 }],
    ['redis://u:first@h?password=sec+ond', { ...there, host: 'h', username: 'u', password: 'sec ond' }],
    ['redis://:100%@h/1?db=1', { ...there, host: 'h', password: '100%', database: 1 }],
    ['/run/redis.sock?x', { path: '/run/redis.sock?x' }],
    ['unix:///run/redis%20a.sock', { path: '/run/redis a.sock' }],
    ['unix:/run/redis.sock?db=4', { path: '/run/redis.sock', database: 4 }],
    ['redis+unix:///run/redis.sock?password=p', { path: '/run/redis.sock', password: 'p' }],
  ])('%s is understood', (url, read) => {
    expect(readRedis({ url })).toMatchObject(read)
  })

  it('goes before the other options, and tls.host before all', () => {
    const config = { host: 'a', port: 1, path: '/x', username: 'a', password: 'a', db: 1 }
    expect(readRedis({ ...config, url: 'unix:///y' }).path).toBe('/y')
    const { path, ...tcp } = config
    expect(readRedis({ ...tcp, url: 'redis://u:p@h:2/3' })).toMatchObject({
      host: 'h',
      port: 2,
      username: 'u',
      password: 'p',
      database: 3,
    })
    expect(readRedis({ url: 'rediss://h:2', tls: { host: 't', port: 4 } })).toMatchObject({
      host: 't',
      port: 4,
    })
    expect(readRedis({ url: 'rediss://h:2', tls: false }).tls).toMatchObject({
      servername: 'h',
      verify: true,
    })
  })

  it.each([
    ['redis:x', 'config.url needs two slashes after its scheme: redis://host'],
    ['http://h', 'config.url has the scheme "http"; redis, rediss and unix are known'],
    ['other://h', 'config.url has another scheme than redis, rediss and unix'],
    ['x', 'config.url is not a URL'],
    ['redis://h:0', 'config.url names a port that is not from 1 to 65535'],
    ['redis://h/x', 'config.url names a database that is not a whole number from 0 on'],
    ['redis://h/2147483648', 'config.url names a database that is not a whole number from 0 on'],
    ['redis://h/1?db=2', 'config.url names two different databases'],
    ['redis://h?x=1', 'config.url has an option other than db and password'],
    ['redis://%ff@h', 'config.url has an escape that is not UTF-8'],
    ['unix://host/x', 'config.url needs an absolute path and no host: unix:///path'],
  ])('%s is refused', (url, message) => {
    expect(thrownBy(() => readRedis({ url }))).toMatchObject({
      name: 'RangeError',
      code: 'ERR_OUT_OF_RANGE',
      message,
    })
  })
})
