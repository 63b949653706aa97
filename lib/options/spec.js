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
  const { prefix, commandTimeout } = readSettings(settings)
  if (driver === 'memory') {
    return { checked: { prefix, commandTimeout, redis: undefined }, aliasedDatabase: undefined }
  }
  const { redis, aliasedDatabase } = readConfig(config)
  if (redis.nodes) checkClusterPrefix(redis.keyPrefix + prefix)
  return { checked: { prefix, commandTimeout, redis }, aliasedDatabase }
}

/** @param {unknown} given */
function readSettings(given) {
  if (given === undefined) throw missing(settingsTable, 'prefix')
  const read = readOptions(settingsTable, given, Object.create(null))
  if (read.prefix === undefined) throw missing(settingsTable, 'prefix')
  return {
    prefix: /** @type {string} */ (read.prefix),
    commandTimeout: /** @type {number} */ (read.commandTimeout ?? defaultOf(settingsTable, 'commandTimeout')),
  }
}

/** @param {import('./table').Group} group @param {string} name */
function missing(group, name) {
  const { message, code } = group.known.get(name)?.required ?? { message: `${name} is missing` }
  return wrongType(message, code)
}

module.exports = { readSpec }
