'use strict'

const lockFactory = require('..')
const { readRedis } = require('./support/options')

/** What a call throws. */
const thrownBy = (call) => {
  try {
    call()
  } catch (error) {
    return error
  }
  throw new Error(`Did not throw: ${call}`)
}

const sentinels = [{ host: 'a', port: 1 }, { host: 'b' }]
const group = { sentinels, name: 'mymaster' }
const settings = { prefix: 'sentinel options:' }

describe('config.sentinels', () => {
  it('names sentinels, and their group', () => {
    const given = [{ host: 'a', port: 1 }, { host: 'b', port: '2' }, {}]
    expect(readRedis({ ...group, sentinels: given }).sentinel).toEqual({
      name: 'mymaster',
      addresses: [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
        { host: '127.0.0.1', port: 26_379 },
      ],
      username: undefined,
      password: undefined,
      tls: undefined,
    })
    expect(readRedis({}).sentinel).toBeUndefined()
  })

  it('have credentials and TLS of their own', () => {
    const read = readRedis({
      ...group,
      sentinelUsername: 'u',
      sentinelPassword: 'p',
      sentinelTls: { ca: 'own' },
      username: 'of servers',
      password: 'of servers, too',
      tls: { ca: 'of servers', servername: 's' },
      db: 3,
    })
    expect(read.sentinel).toMatchObject({ username: 'u', password: 'p' })
    expect(read.sentinel.tls).toMatchObject({ ca: [Buffer.from('own')], servername: undefined, verify: true })
    expect(read.tls).toMatchObject({ ca: [Buffer.from('of servers')], servername: 's' })
    expect(read).toMatchObject({ username: 'of servers', password: 'of servers, too', database: 3 })
    const both = readRedis({ ...group, tls: true, sentinelTls: true })
    expect([both.tls.servername, both.sentinel.tls.servername]).toEqual([undefined, undefined])
    expect(readRedis({ ...group, tls: true }).sentinel.tls).toBeUndefined()
    expect(readRedis({ ...group, sentinelPassword: '', sentinelTls: false }).sentinel).toMatchObject({
      password: undefined,
      tls: undefined,
    })
  })

  it('goes with a URL that names no host', () => {
    const read = readRedis({ ...group, url: 'rediss:///2?password=p' })
    expect(read).toMatchObject({ password: 'p', database: 2, tls: { verify: true } })
  })

  it.each([
    [{ host: 'h' }, 'config.host'],
    [{ port: 1 }, 'config.port'],
    [{ path: '/x' }, 'config.path'],
    [{ nodes: [{}] }, 'config.nodes'],
    [{ cluster: true }, 'config.cluster'],
    [{ url: 'redis://:hunter2@h' }, 'the host in config.url'],
    [{ url: 'unix:///x' }, 'the path in config.url'],
    [{ tls: { host: 'h' } }, 'config.tls.host'],
    [{ tls: { port: 1 } }, 'config.tls.port'],
  ])('does not go with %j', (other, named) => {
    expect(thrownBy(() => readRedis({ ...group, ...other }))).toMatchObject({
      name: 'RangeError',
      code: 'ERR_OUT_OF_RANGE',
      message: `config.sentinels does not go with ${named}: the sentinels say where the server is`,
    })
  })

  it('needs a name', () => {
    expect(thrownBy(() => readRedis({ sentinels }))).toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: 'config.sentinels needs config.name: what the sentinels call the group of servers',
    })
  })

  it.each([
    [{ name: 'mymaster' }, 'name'],
    [{ sentinelUsername: 'u' }, 'sentinelUsername'],
    [{ sentinelPassword: 'hunter2' }, 'sentinelPassword'],
    [{ sentinelTls: false }, 'sentinelTls'],
  ])('is needed by %j', (config, option) => {
    const error = thrownBy(() => readRedis(config))
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toBe(`config.${option} needs config.sentinels`)
  })

  it.each([
    [[], RangeError, 'config.sentinels must have at least one element'],
    ['a:26379', TypeError, 'config.sentinels must be an array, got "a:26379"'],
    [['redis://:hunter2@a'], TypeError, 'config.sentinels[0] must be an object, got what may be a URL'],
    [[{}, { port: 0 }], RangeError, 'config.sentinels[1].port must be a port from 1 to 65535, got 0'],
    [[{}, { host: '' }], TypeError, 'config.sentinels[1].host must be a non-empty string, got ""'],
    [[{ hots: 'a' }], TypeError, 'config.sentinels[0] has no option "hots"; did you mean "host"?'],
  ])('says what is wrong with it, case %#', (given, Class, message) => {
    const error = thrownBy(() => readRedis({ ...group, sentinels: given }))
    expect(error).toBeInstanceOf(Class)
    expect(error.message).toBe(message)
  })

  it('has TLS that is checked when the locker is made, by the name of its option', () => {
    const made = (config) => () => lockFactory({ driver: 'redis', config: { ...group, ...config }, settings })
    for (const option of ['tls', 'sentinelTls']) {
      expect(thrownBy(made({ [option]: { ca: 'hunter2' } }))).toMatchObject({
        name: 'TypeError',
        message: `config.${option}.ca has no PEM certificate`,
      })
      expect(thrownBy(made({ [option]: { servername: 'not a name' } })).message).toBe(
        `config.${option}.servername is not a host name or an IP address`,
      )
    }
    expect(thrownBy(made({ sentinelTls: { host: 'h' } })).message).toMatch(
      /^config.sentinelTls has no option "host"/,
    )
  })
})
