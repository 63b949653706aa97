'use strict'

const { Buffer } = require('node:buffer')
const { readCluster } = require('./cluster')
const { readOptions } = require('./read')
const { outOfRange, wrongType } = require('./argument-errors')
const { readSentinel } = require('./sentinel')
const { config: table, defaultOf, sentinelTls: sentinelTlsTable, tls: tlsTable } = require('./table')
const { defaultAuthorities, verifiesByDefault } = require('./tls-defaults')
const { FromUrl, parseUrl } = require('./url')

/**
 * `config`: the options of node_redis 2.x, which lock-inc 1.2.0 handed on to it.
 *
 * @param {any} given
 * @returns {{ redis: Omit<import('../native').Redis, 'replicas' | 'replicaTimeout'>, aliasedDatabase: number | undefined }} `aliasedDatabase`: the database,
 * where it was named by `database` alone and is not 0. 1.2.0 ignored that.
 */
function readConfig(given = {}) {
  // A string is probably a URL with a password.
  if (typeof given === 'string') {
    throw wrongType('config must be an object, got a string: for a URL there is config.url')
  }
  const config = readOptions(table, given, Object.create(null))
  const url = config.url === undefined ? new FromUrl() : parseUrl(config.url)
  const tls = readTls(tlsTable, config.tls, url.tls)
  const sentinel = readSentinel(config, url, tls)
  const sentinelTls = readTls(sentinelTlsTable, config.sentinelTls)
  const endpoint = sentinel ? nowhere(config) : endpointOf(config, url, tls)
  const { nodes, natMap } = readCluster(config, url, tls, endpoint)
  const { database, aliasedDatabase } = databaseOf(config, url)
  return {
    redis: {
      ...endpoint,
      ...nodes?.[0],
      nodes,
      natMap,
      sentinel: sentinel && { ...sentinel, tls: sentinelTls && nativeTls(sentinelTls, undefined) },
      tls: tls && nativeTls(tls, nodes || sentinel ? undefined : endpoint.host),
      username: url.username ?? config.username ?? config.user,
      password: url.password ?? config.auth_pass ?? config.password,
      database,
      keyPrefix: config.prefix ?? '',
      keepalive: orDefault(table, 'socket_keepalive', config),
      nodelay: orDefault(table, 'socket_nodelay', config),
      offlineQueue: orDefault(table, 'enable_offline_queue', config),
      maxAttempts: orDefault(table, 'max_attempts', config),
      maxTime: config.connect_timeout ?? 0,
      maxDelay: orDefault(table, 'retry_max_delay', config),
      strategy: config.retry_strategy,
    },
    aliasedDatabase,
  }
}

/**
 * @param {'IPv4' | 'IPv6' | 4 | 6 | 0} family
 * @returns {4 | 6 | 0}
 */
function familyNumber(family) {
  if (family === 'IPv4') return 4
  return family === 'IPv6' ? 6 : family
}

/** @param {import('./table').Group} group @param {string} name @param {{ [name: string]: any }} read */
function orDefault(group, name, read) {
  return read[name] ?? defaultOf(group, name)
}

/**
 * The options of TLS, or `undefined` for none.
 *
 * @param {import('./table').Group} group
 * @param {any} given
 * @param {boolean} [urlSaysSo]
 */
function readTls(group, given, urlSaysSo) {
  if (typeof given === 'object') return readOptions(group, given, Object.create(null))
  return given || urlSaysSo ? Object.create(null) : undefined
}

/** @param {{ [name: string]: any }} tls @param {string | undefined} host The one that there is. */
function nativeTls(tls, host) {
  const verify = tls.rejectUnauthorized ?? verifiesByDefault()
  return {
    ca: tls.ca ?? (verify ? defaultAuthorities() : []),
    cert: Buffer.concat(tls.cert ?? []),
    key: Buffer.concat(tls.key ?? []),
    servername: tls.servername ?? host,
    verify,
  }
}

/**
 * @param {{ [name: string]: any }} config
 * @param {import('./url').FromUrl} url
 * @param {{ [name: string]: any } | undefined} tls
 */
function endpointOf(config, url, tls) {
  const path = url.path ?? config.path
  if (path !== undefined && tls) {
    throw outOfRange('config.tls does not go with config.path: a Unix socket has no TLS')
  }
  return {
    path,
    host: tls?.host ?? url.host ?? orDefault(table, 'host', config),
    port: tls?.port ?? url.port ?? orDefault(table, 'port', config),
    family: familyNumber(orDefault(table, 'family', config)),
  }
}

/** Where sentinels say where the server is. @param {{ [name: string]: any }} config */
function nowhere(config) {
  return { path: undefined, host: '', port: 0, family: familyNumber(orDefault(table, 'family', config)) }
}

/** @param {{ [name: string]: any }} config @param {import('./url').FromUrl} url */
function databaseOf({ db, database }, url) {
  if (db !== undefined && database !== undefined && db !== database) {
    throw outOfRange(`config.db is ${db}, but config.database is ${database}: they mean the same`)
  }
  const chosen = url.database ?? db
  return {
    database: chosen ?? database ?? defaultOf(table, 'db'),
    aliasedDatabase: chosen === undefined && database !== 0 ? database : undefined,
  }
}

module.exports = { readConfig }
