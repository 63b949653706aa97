'use strict'

const { readFileSync } = require('node:fs')
const { isIPv6 } = require('node:net')
const { UsageError } = require('../usage-error')
const { timeOf } = require('./time')

/** How to reach Redis: of the same names as in `config`. @type {{ [name: string]: import('../commands').Option }} */
const connectionOptions = {
  url: { type: 'string', value: 'URL', help: 'where Redis is. Default: 127.0.0.1:6379' },
  prefix: { type: 'string', value: 'TEXT', help: "in front of each lock's name in Redis. Default: lock:" },
  config: { type: 'string', value: 'FILE', help: 'a JSON file with `config` as lockFactory takes it' },
  sentinels: { type: 'string', value: 'HOST:PORT,...', help: 'sentinels, which know the primary' },
  name: { type: 'string', value: 'GROUP', help: 'what the sentinels call it' },
  nodes: { type: 'string', value: 'HOST:PORT,...', help: 'nodes of a cluster' },
  cluster: { type: 'boolean', help: 'the server at the URL is a node of a cluster' },
  username: { type: 'string', value: 'USER', help: 'for the ACL. The password: LOCK_INC_PASSWORD' },
  db: { type: 'string', value: 'NUMBER', help: 'the database. Default: 0' },
  tls: { type: 'boolean', help: 'with TLS, as with a URL of rediss://' },
  ca: { type: 'string', value: 'FILE', help: 'the authorities to trust, in PEM' },
  cert: { type: 'string', value: 'FILE', help: "the client's certificate, in PEM" },
  key: { type: 'string', value: 'FILE', help: 'and its key' },
  servername: { type: 'string', value: 'HOST', help: 'whose certificate is expected' },
  'command-timeout': {
    type: 'string',
    value: 'TIME',
    help: 'how long a call may wait for Redis. Default: 5s',
  },
}

const environment = {
  LOCK_INC_URL: '--url; REDIS_URL stands in for it',
  LOCK_INC_CONFIG: '--config',
  LOCK_INC_PREFIX: '--prefix',
  LOCK_INC_PASSWORD: 'the password of Redis, if the URL has none',
  LOCK_INC_SENTINEL_PASSWORD: 'that of the sentinels',
}

/**
 * The argument of `lockFactory`. What it does not take it refuses itself.
 *
 * @param {{ [name: string]: any }} options
 * @param {NodeJS.ProcessEnv} env
 * @returns {import('../..').RedisSpec & { settings: { prefix: string, commandTimeout: number } }}
 */
function specOf(options, env) {
  const timeout = options['command-timeout'] ?? '5s'
  return {
    driver: 'redis',
    config: configOf(options, env),
    settings: {
      prefix: options.prefix ?? (env.LOCK_INC_PREFIX || 'lock:'),
      commandTimeout: Math.ceil(timeOf('command-timeout', timeout, { min: 1, max: 3_600_000 })),
    },
  }
}

/** @param {{ [name: string]: any }} options @param {NodeJS.ProcessEnv} env */
function configOf(options, env) {
  const { url, file } = sources(options, env)
  const { username, db, name, cluster, sentinels, nodes } = options
  const said = {
    url,
    username,
    password: env.LOCK_INC_PASSWORD || undefined,
    db,
    cluster,
    nodes: nodes && addresses('nodes', nodes),
    sentinels: sentinels && addresses('sentinels', sentinels),
    name,
    sentinelPassword: env.LOCK_INC_SENTINEL_PASSWORD || undefined,
    tls: tlsOf(options),
  }
  const own = Object.entries(said).filter(([, value]) => value !== undefined)
  return { ...(file && jsonOf(file)), ...Object.fromEntries(own) }
}

/**
 * The URL and the file that count. Where the command line says where Redis is, the environment does not; and what is meant
 * for lock-inc goes before what others may read as well.
 *
 * @param {{ [name: string]: any }} options
 * @param {NodeJS.ProcessEnv} env
 */
function sources({ url, config, nodes, sentinels }, env) {
  if (url || config || nodes || sentinels) return { url, file: config }
  const file = env.LOCK_INC_CONFIG || undefined
  return { file, url: env.LOCK_INC_URL || (file ? undefined : env.REDIS_URL) || undefined }
}

/** @param {{ [name: string]: any }} options */
function tlsOf({ tls, ca, cert, key, servername }) {
  if (!(ca || cert || key || servername)) return tls
  /** @param {string} option @param {string | undefined} file */
  const pem = (option, file) => file && contents(option, file)
  return { ca: pem('ca', ca), cert: pem('cert', cert), key: pem('key', key), servername }
}

/** @param {string} file */
function jsonOf(file) {
  const text = contents('config', file)
  let read
  try {
    read = JSON.parse(text)
  } catch {
    // What JSON.parse has to say quotes the file, which may hold a password.
    throw new UsageError(`--config: ${file} is not JSON`)
  }
  if (typeof read === 'object' && read !== null && !Array.isArray(read)) return read
  throw new UsageError(`--config: ${file} is not an object`)
}

/** @param {string} option @param {string} file */
function contents(option, file) {
  try {
    return readFileSync(file, 'utf8')
  } catch (/** @type {any} */ error) {
    throw new UsageError(`--${option}: ${file} cannot be read (${error.code})`)
  }
}

/** `host`, `host:port`, `[address]:port`, or an IPv6 address alone. @param {string} option @param {string} list */
function addresses(option, list) {
  return list.split(',').map((address) => {
    if (isIPv6(address)) return { host: address }
    const found = /^(?:\[(.+)\]|([^:[\]]+))(?::(\d+))?$/.exec(address)
    if (!found) throw new UsageError(`--${option} is a list of HOST:PORT with commas between them`)
    return { host: found[1] ?? found[2], port: found[3] }
  })
}

module.exports = { connectionOptions, environment, specOf }
