'use strict'

const { outOfRange, shown, wrongType } = require('./argument-errors')
const { readOptions } = require('./read')
const { defaultOf, node: nodeTable, renamed } = require('./table')

/**
 * What `config` says of a Redis Cluster: the nodes to begin with, and where those are that cannot be reached as the cluster
 * names them. Both are `undefined` where Redis is one server.
 *
 * @param {{ [name: string]: any }} config
 * @param {import('./url').FromUrl} url
 * @param {{ [name: string]: any } | undefined} tls
 * @param {{ path: string | undefined, host: string, port: number }} endpoint The one seed where `nodes` names none.
 * @returns {Pick<import('../native').Redis, 'nodes' | 'natMap'>}
 */
function readCluster(config, url, tls, { path, host, port }) {
  const { cluster, nodes, natMap } = config
  if (!cluster && nodes === undefined) {
    if (natMap !== undefined) refuseTogether('natMap', 'one server: it needs config.nodes or config.cluster')
    return { nodes: undefined, natMap: undefined }
  }
  const by = nodes === undefined ? 'cluster' : 'nodes'
  if (cluster === false) refuseTogether(by, 'config.cluster: false')
  if (path !== undefined) {
    const where = url.path === undefined ? 'config.path' : 'the path in config.url'
    refuseTogether(by, `${where}: the nodes of a cluster are reached by TCP`)
  }
  refuseDatabase(config, url, by)
  refuseGivingUp(config, by)
  if (nodes !== undefined) refuseOtherHosts(config, url, tls)
  return {
    nodes: nodes === undefined ? [{ host, port }] : Array.from(nodes, readNode),
    natMap: natMap && readNatMap(natMap),
  }
}

/** @param {string} option @param {string} other @returns {never} */
function refuseTogether(option, other) {
  throw outOfRange(`config.${option} does not go with ${other}`)
}

/** @param {{ [name: string]: any }} config @param {import('./url').FromUrl} url @param {string} by */
function refuseDatabase({ db, database }, url, by) {
  const named = { 'config.url': url.database, 'config.db': db, 'config.database': database }
  for (const [where, number] of Object.entries(named)) {
    if (number) refuseTogether(by, `database ${number} of ${where}: a cluster has database 0 alone`)
  }
}

/** The slots of a node that was given up for good would be lost. @param {{ [name: string]: any }} config @param {string} by */
function refuseGivingUp({ retry_strategy, max_attempts, connect_timeout }, by) {
  for (const [option, value] of Object.entries({ retry_strategy, max_attempts, connect_timeout })) {
    if (value) {
      refuseTogether(by, `config.${option}: a node is connected to again for as long as it serves slots`)
    }
  }
}

/** @param {{ [name: string]: any }} config @param {import('./url').FromUrl} url @param {{ [name: string]: any } | undefined} tls */
function refuseOtherHosts({ host, port }, url, tls) {
  const named = {
    'config.host': host,
    'config.port': port,
    'the host in config.url': url.host ?? url.port,
    'config.tls.host': tls?.host,
    'config.tls.port': tls?.port,
  }
  for (const [where, value] of Object.entries(named)) {
    if (value !== undefined) refuseTogether('nodes', `${where}: name all nodes in config.nodes`)
  }
}

/** @param {unknown} given @param {number} index */
function readNode(given, index) {
  return withDefaults(readOptions(renamed(nodeTable, `config.nodes[${index}]`), given, Object.create(null)))
}

/** @param {{ host?: string, port?: number }} read @returns {{ host: string, port: number }} */
function withDefaults({ host = defaultOf(nodeTable, 'host'), port = defaultOf(nodeTable, 'port') }) {
  return { host, port }
}

/** @param {object} given */
function readNatMap(given) {
  return Object.entries(given).map(([from, to]) => {
    const path = `config.natMap[${shown(from)}]`
    if (!isHostAndPort(from)) {
      throw outOfRange(`${path}: a key of config.natMap must be 'host:port', as the cluster names the node`)
    }
    const { host, port } = readOptions(renamed(nodeTable, path), to, Object.create(null))
    if (host === undefined || port === undefined) throw wrongType(`${path} needs a host and a port`)
    return { from: from.replace(/^\[(.*)\]:/, '$1:'), host, port }
  })
}

/** An IPv6 address has colons of its own. @param {string} text */
function isHostAndPort(text) {
  const port = Number(text.match(/^.+:(\d{1,5})$/)?.[1])
  return port >= 1 && port <= 65_535
}

/**
 * A prefix begins with what decides on the slot of a key, or has no part in that. With an opening brace alone, the keys of one
 * lock would be in different slots.
 *
 * @param {string} prefix That of `config`, and that of `settings`.
 */
function checkClusterPrefix(prefix) {
  const [, tag] = prefix.match(/\{([^}]*\}?)/) ?? []
  if (tag === undefined || (tag.length > 1 && tag.endsWith('}'))) return
  throw outOfRange(
    'settings.prefix (with config.prefix in front of it) must have a hash tag such as {app}, with at least one ' +
      'character between its braces, or no opening brace: in a cluster, all keys of a lock have to be in one slot',
  )
}

module.exports = { checkClusterPrefix, readCluster }
