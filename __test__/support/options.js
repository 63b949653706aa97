'use strict'

const { readLock } = require('../../lib/options/lock')
const { readRequest } = require('../../lib/options/request')
const { readSpec } = require('../../lib/options/spec')
const table = require('../../lib/options/table')

const spec = { driver: 'memory', settings: { prefix: 'options:' } }
const settings = { prefix: 'options:' }
const readRedis = (config) => readSpec({ driver: 'redis', config, settings }).checked.redis

/** What goes with a limit. */
const forLimit = (options) => (options.limit ? { mode: 'shared' } : {})

/** What an option of `config` needs beside it. */
function besides(name) {
  if (name === 'natMap') return { cluster: true }
  const isOfSentinels = name === 'name' || name.startsWith('sentinel')
  return isOfSentinels ? { sentinels: [{ host: 'beside' }], name: 'beside' } : {}
}

const forConfig = (config) => {
  const given = Object.keys(config).filter((name) => config[name] !== undefined && config[name] !== null)
  return Object.assign({}, ...given.map(besides))
}

/** What goes with the time for replicas. */
const forReplicas = (options) => (options.replicaTimeout ? { replicas: 1 } : {})

/** How each group of options is read, and where it is documented; some of them elsewhere. */
const groups = {
  spec: {
    read: (options) => readSpec({ ...spec, ...options }),
    declaredBy: 'RedisSpec',
    docs: ['docs/api.md', '## lockFactory(spec)'],
  },
  settings: {
    read: (options) =>
      readSpec({ driver: 'redis', settings: { ...settings, ...forReplicas(options), ...options } }),
    declaredBy: 'Settings',
    docs: ['docs/api.md', '## lockFactory(spec)'],
    elsewhere: {
      replicas: ['docs/operating.md', '## Durability'],
      replicaTimeout: ['docs/operating.md', '## Durability'],
    },
  },
  config: {
    read: (config) => readRedis({ ...forConfig(config), ...config }),
    declaredBy: 'RedisOptions',
    docs: ['docs/redis-options.md', '## '],
  },
  tls: {
    read: (tls) => readRedis({ tls }),
    declaredBy: 'TlsOptions',
    docs: ['docs/redis-options.md', '## tls'],
  },
  node: {
    read: (node) => readRedis({ nodes: [node] }),
    declaredBy: 'NodeAddress',
    docs: ['docs/redis-options.md', '## Cluster'],
  },
  sentinel: {
    read: (one) => readRedis({ sentinels: [one], name: 'group' }),
    declaredBy: 'SentinelAddress',
    docs: ['docs/redis-options.md', '## Sentinel'],
  },
  lock: {
    read: (options) => readLock({ renew: true, ...forLimit(options), ...options }),
    declaredBy: 'LockOptions',
    docs: ['docs/api.md', '## Options of lock'],
  },
  request: {
    read: (options) => readRequest({ ...forLimit(options), ...options }),
    declaredBy: 'RequestOptions',
    docs: ['docs/holding.md', '## request'],
  },
}

const everyOption = Object.entries(groups).flatMap(([group, how]) =>
  table[group].options.map((option) => [`${group}: ${option.name}`, option, how]),
)
const optionsThat = (test) => everyOption.filter(([, option]) => test(option))
const isNumeric = ({ type }) => type === 'time' || type === 'integer'

module.exports = { besides, everyOption, groups, isNumeric, optionsThat, readRedis, settings, spec }
