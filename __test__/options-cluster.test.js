'use strict'

const lockFactory = require('..')
const { readSpec } = require('../lib/options/spec')
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

const natMap = { '10.0.0.1:7000': { host: 'a', port: 1 } }
const nodes = [{ host: 'a', port: 7000 }, { host: 'b' }]

const AGAIN = 'a node is connected to again for as long as it serves slots'

describe('config.nodes', () => {
  it('names where a cluster is first asked for', () => {
    expect(readRedis({ nodes: [{ host: 'a', port: 7000 }, { host: 'b', port: '7001' }, {}] })).toMatchObject({
      nodes: [
        { host: 'a', port: 7000 },
        { host: 'b', port: 7001 },
        { host: '127.0.0.1', port: 6379 },
      ],
      natMap: undefined,
      host: 'a',
      port: 7000,
    })
    expect(readRedis({ nodes, cluster: true, tls: true })).toMatchObject({ nodes: { length: 2 } })
  })

  it('is there where cluster: true says that the one address is one of it', () => {
    const one = (config) => readRedis({ cluster: true, ...config }).nodes
    expect(one({})).toEqual([{ host: '127.0.0.1', port: 6379 }])
    expect(one({ host: 'h', port: 1 })).toEqual([{ host: 'h', port: 1 }])
    expect(one({ url: 'redis://u:p@h:2' })).toEqual([{ host: 'h', port: 2 }])
    expect(one({ tls: { host: 't', port: 3 } })).toEqual([{ host: 't', port: 3 }])
  })

  it('is not there for one server', () => {
    for (const config of [{}, { cluster: false }, { nodes: null, cluster: null, natMap: null }]) {
      expect(readRedis(config)).toMatchObject({ nodes: undefined, natMap: undefined })
    }
  })

  it('has the certificate of each node expected, unless tls.servername says whose', () => {
    expect(readRedis({ nodes, tls: true }).tls.servername).toBeUndefined()
    expect(readRedis({ cluster: true, host: 'h', tls: true }).tls.servername).toBeUndefined()
    expect(readRedis({ nodes, tls: { servername: 's' } }).tls.servername).toBe('s')
  })

  const mistakes = [
    [[], RangeError, 'config.nodes must have at least one element'],
    [['redis://:hunter2@a'], TypeError, 'config.nodes[0] must be an object, got what may be a URL'],
    [[{}, null], TypeError, 'config.nodes[1] must be an object, got null'],
    // biome-ignore lint/suspicious/noSparseArray: what if it is one
    [[, {}], TypeError, 'config.nodes[0] must be an object, got undefined'],
    [[{}, { port: 0 }], RangeError, 'config.nodes[1].port must be a port from 1 to 65535, got 0'],
    [[{ host: '' }], TypeError, 'config.nodes[0].host must be a non-empty string, got ""'],
    [[{ hots: 'a' }], TypeError, 'config.nodes[0] has no option "hots"; did you mean "host"?'],
    [
      [{ host: 'redis://:hunter2@a' }],
      RangeError,
      'config.nodes[0].host must be a host name or an address, not a URL: for that there is config.url',
    ],
  ]
  it.each(mistakes)('says which node is wrong, case %#', (nodes, Class, message) => {
    const error = thrownBy(() => readRedis({ nodes }))
    expect(error).toBeInstanceOf(Class)
    expect(error.message).toBe(message)
  })

  it.each([
    [{ host: 'h' }, 'config.host: name all nodes in config.nodes'],
    [{ port: 1 }, 'config.port: name all nodes in config.nodes'],
    [{ url: 'redis://:hunter2@h' }, 'the host in config.url: name all nodes in config.nodes'],
    [{ tls: { host: 't' } }, 'config.tls.host: name all nodes in config.nodes'],
    [{ tls: { port: 1 } }, 'config.tls.port: name all nodes in config.nodes'],
    [{ path: '/x' }, 'config.path: the nodes of a cluster are reached by TCP'],
    [{ url: 'unix:///x' }, 'the path in config.url: the nodes of a cluster are reached by TCP'],
    [{ cluster: false }, 'config.cluster: false'],
    [{ db: 1 }, 'database 1 of config.db: a cluster has database 0 alone'],
    [{ database: '2' }, 'database 2 of config.database: a cluster has database 0 alone'],
    [{ url: 'redis:///3' }, 'database 3 of config.url: a cluster has database 0 alone'],
    [{ max_attempts: 1 }, `config.max_attempts: ${AGAIN}`],
    [{ connectTimeout: '1s' }, `config.connect_timeout: ${AGAIN}`],
    [{ retry_strategy: () => 1 }, `config.retry_strategy: ${AGAIN}`],
  ])('does not go with %j', (config, other) => {
    expect(thrownBy(() => readRedis({ nodes, ...config }))).toMatchObject({
      name: 'RangeError',
      code: 'ERR_OUT_OF_RANGE',
      message: `config.nodes does not go with ${other}`,
    })
  })

  it('goes with tries without end, and with the longest time between them', () => {
    expect(readRedis({ nodes, max_attempts: 0, retry_max_delay: 7 })).toMatchObject({
      maxAttempts: 0,
      maxDelay: 7,
    })
  })

  it('goes with a URL that names no host', () => {
    expect(readRedis({ nodes, url: 'redis:///0?password=p' })).toMatchObject({ host: 'a', password: 'p' })
  })
})

describe('config.cluster', () => {
  it.each([
    [{ path: '/x' }, 'config.path: the nodes of a cluster are reached by TCP'],
    [{ url: '/x' }, 'the path in config.url: the nodes of a cluster are reached by TCP'],
    [{ db: 1 }, 'database 1 of config.db: a cluster has database 0 alone'],
    [{ url: 'redis://h/1' }, 'database 1 of config.url: a cluster has database 0 alone'],
    [{ max_attempts: 1 }, `config.max_attempts: ${AGAIN}`],
  ])('does not go with %j', (config, other) => {
    expect(thrownBy(() => readRedis({ cluster: true, ...config }))).toMatchObject({
      name: 'RangeError',
      message: `config.cluster does not go with ${other}`,
    })
  })

  it('goes with database 0', () => {
    expect(readRedis({ cluster: true, db: 0, database: '0', url: 'redis://h/0' }).database).toBe(0)
  })
})

describe('config.natMap', () => {
  it('says where the nodes are that a cluster names', () => {
    const many = { ...natMap, '::1:7001': { host: 'b', port: '2' }, '[::1]:7002': { host: 'b', port: 3 } }
    for (const config of [{ cluster: true }, { nodes }]) {
      expect(readRedis({ ...config, natMap: many }).natMap).toEqual([
        { from: '10.0.0.1:7000', host: 'a', port: 1 },
        { from: '::1:7001', host: 'b', port: 2 },
        { from: '::1:7002', host: 'b', port: 3 },
      ])
    }
  })

  it.each([
    [{}, 'config.natMap does not go with one server: it needs config.nodes or config.cluster'],
    [
      { cluster: false },
      'config.natMap does not go with one server: it needs config.nodes or config.cluster',
    ],
  ])('needs a cluster, case %#', (config, message) => {
    expect(thrownBy(() => readRedis({ ...config, natMap }))).toMatchObject({ name: 'RangeError', message })
  })

  it.each(['a', 'a:', ':1', 'a:0', 'a:65536', 'a:1x', 'a:123456', ''])('has no node %j', (from) => {
    expect(thrownBy(() => readRedis({ nodes, natMap: { [from]: { host: 'a', port: 1 } } })).message).toBe(
      `config.natMap["${from}"]: a key of config.natMap must be 'host:port', as the cluster names the node`,
    )
  })

  it.each([
    ['a:1', 'TypeError', 'must be an object, got "a:1"'],
    [null, 'TypeError', 'must be an object, got null'],
    [{ host: 'a' }, 'TypeError', 'needs a host and a port'],
    [{ port: 1 }, 'TypeError', 'needs a host and a port'],
  ])('leads to a host and a port, not to %j', (to, name, what) => {
    expect(thrownBy(() => readRedis({ nodes, natMap: { 'a:1': to } }))).toMatchObject({
      name,
      message: `config.natMap["a:1"] ${what}`,
    })
  })
})

describe('a prefix in a cluster', () => {
  const read = (prefix, keyPrefix) =>
    readSpec({ driver: 'redis', config: { nodes, prefix: keyPrefix }, settings: { prefix } }).checked

  it.each(['lock:', '{a}', 'lock:{a b}:', 'x}y', '{a}{', '{a}{}', 'a{{}', '{{}}'])('may be %j', (prefix) => {
    expect(read(prefix).prefix).toBe(prefix)
  })

  it.each(['{', 'lock:{', '{}', 'a{}b', 'a{b', '}{', '{}{a}'])('may not be %j', (prefix) => {
    const error = thrownBy(() => read(prefix))
    expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' })
    expect(error.message).toMatch(/^settings.prefix .* must have a hash tag such as \{app\}/)
    // One server has no slots.
    const locker = lockFactory({ driver: 'memory', settings: { prefix } })
    return locker.close()
  })

  it('counts together with that of config, and no message shows it', () => {
    expect(read('}b', '{a').prefix).toBe('}b')
    expect(read('{', '{a}').prefix).toBe('{')
    expect(thrownBy(() => read('lock:', 'hunter2{')).message).not.toContain('hunter2')
  })
})
