'use strict'

const { checkClusterPrefix } = require('./cluster')
const { readConfig } = require('./config')
const { readOptions } = require('./read')
const { wrongType } = require('./argument-errors')
const { defaultOf, settings: settingsTable, spec: specTable } = require('./table')

/**
 * The argument of `lockFactory`.
 *
 * @param {unknown} given
 * @returns {{ checked: import('../native').Spec, aliasedDatabase: number | undefined }}
 */
function readSpec(given) {
  if (given === undefined || given === null) {
    throw wrongType('lockFactory needs an object: { driver, config, settings }')
  }
  // In this order and with these texts, as 1.2.0 has it.
  const { driver, config, settings } = readOptions(specTable, given, Object.create(null))
  if (driver === undefined) throw missing(specTable, 'driver')
  const { prefix, commandTimeout, replicas, replicaTimeout } = readSettings(settings)
  if (driver === 'memory') {
    if (replicas > 0) {
      throw wrongType(
        "settings.replicas is about servers: it does not go with driver 'memory', whose locks have no replicas",
      )
    }
    return { checked: { prefix, commandTimeout, redis: undefined }, aliasedDatabase: undefined }
  }
  const { redis, aliasedDatabase } = readConfig(config)
  if (redis.nodes) checkClusterPrefix(redis.keyPrefix + prefix)
  return {
    checked: { prefix, commandTimeout, redis: { ...redis, replicas, replicaTimeout } },
    aliasedDatabase,
  }
}

/** @param {unknown} given */
function readSettings(given) {
  if (given === undefined) throw missing(settingsTable, 'prefix')
  const read = readOptions(settingsTable, given, Object.create(null))
  if (read.prefix === undefined) throw missing(settingsTable, 'prefix')
  if (read.replicaTimeout !== undefined && read.replicas === undefined) {
    throw wrongType('settings.replicaTimeout is about settings.replicas: it needs that, too')
  }
  /** @param {string} name */
  const numberOf = (name) => /** @type {number} */ (read[name] ?? defaultOf(settingsTable, name))
  return {
    prefix: /** @type {string} */ (read.prefix),
    commandTimeout: numberOf('commandTimeout'),
    replicas: numberOf('replicas'),
    replicaTimeout: numberOf('replicaTimeout'),
  }
}

/** @param {import('./table').Group} group @param {string} name */
function missing(group, name) {
  const { message, code } = group.known.get(name)?.required ?? { message: `${name} is missing` }
  return wrongType(message, code)
}

module.exports = { readSpec }
