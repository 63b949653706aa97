'use strict'

const { LockOptions, checkMode, waitOf } = require('./lock')
const { readOptions } = require('./read')
const { wrongType } = require('./argument-errors')
const { defaultOf, request: table } = require('./table')

const TIMEOUT = defaultOf(table, 'timeout')

/** How a lock is requested. */
class RequestOptions extends LockOptions {
  renew = true
  /** Whether not to wait. */
  ifAvailable = false
}

/**
 * The options of `request`, each by itself.
 *
 * @param {unknown} given
 */
function readRequest(given) {
  const read = new RequestOptions()
  if (given !== undefined && given !== null) readOptions(table, given, read)
  read.wait = whyNotToWait(read) ? 0 : waitOf(read.timeout ?? TIMEOUT)
  return read
}

/**
 * Refuses options that do not go together, in the order of the specification.
 *
 * @param {RequestOptions} read
 */
function checkRequest(read) {
  if (read.steal && read.ifAvailable) throw notSupported('options.steal does not go with options.ifAvailable')
  if (read.steal && read.mode === 'shared')
    throw notSupported("options.steal does not go with options.mode 'shared'")
  const reason = whyNotToWait(read)
  if (reason && read.signal !== undefined)
    throw notSupported(`options.signal does not go with options.${reason}`)
  // What follows is not in the specification.
  checkMode(read)
  if (reason && read.timeout !== undefined)
    throw wrongType(`options.timeout does not go with options.${reason}`)
}

/** The option that says so. @param {RequestOptions} read */
function whyNotToWait(read) {
  return (read.steal && 'steal') || (read.ifAvailable && 'ifAvailable')
}

/** @param {string} message */
function notSupported(message) {
  return new DOMException(message, 'NotSupportedError')
}

module.exports = { checkRequest, notSupported, readRequest }
