'use strict'

const { outOfRange, wrongType } = require('./argument-errors')
const { readOptions } = require('./read')
const { defaultOf, renamed, sentinel: table } = require('./table')

/** What is of no use without sentinels. */
const COMPANIONS = ['name', 'sentinelUsername', 'sentinelPassword', 'sentinelTls']

/**
 * What `config` says of sentinels, but for their TLS. `undefined` for none.
 *
 * @param {{ [name: string]: any }} config
 * @param {import('./url').FromUrl} url
 * @param {{ [name: string]: any } | undefined} tls
 * @returns {Omit<import('../native').Sentinel, 'tls'> | undefined}
 */
function readSentinel(config, url, tls) {
  const { sentinels, name, sentinelUsername: username, sentinelPassword: password } = config
  if (sentinels === undefined) {
    const alone = COMPANIONS.find((option) => config[option] !== undefined)
    if (alone === undefined) return undefined
    throw wrongType(`config.${alone} needs config.sentinels`)
  }
  if (name === undefined) {
    throw wrongType('config.sentinels needs config.name: what the sentinels call the group of servers')
  }
  refuseOtherPlaces(config, url, tls)
  return { name, addresses: Array.from(sentinels, readAddress), username, password }
}

/** @param {unknown} given @param {number} index */
function readAddress(given, index) {
  const { host = defaultOf(table, 'host'), port = defaultOf(table, 'port') } = readOptions(
    renamed(table, `config.sentinels[${index}]`),
    given,
    /** @type {{ host?: string, port?: number }} */ (Object.create(null)),
  )
  return { host, port }
}

/** @param {{ [name: string]: any }} config @param {import('./url').FromUrl} url @param {{ [name: string]: any } | undefined} tls */
function refuseOtherPlaces({ host, port, path, nodes, cluster }, url, tls) {
  const named = {
    'config.host': host,
    'config.port': port,
    'config.path': path,
    'config.nodes': nodes,
    'config.cluster': cluster || undefined,
    'the host in config.url': url.host ?? url.port,
    'the path in config.url': url.path,
    'config.tls.host': tls?.host,
    'config.tls.port': tls?.port,
  }
  for (const [where, value] of Object.entries(named)) {
    if (value !== undefined) {
      throw outOfRange(`config.sentinels does not go with ${where}: the sentinels say where the server is`)
    }
  }
}

module.exports = { readSentinel }
