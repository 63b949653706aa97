'use strict'

const { LockOptions, waitOf } = require('./lock')
const { readOptions } = require('./read')
const { wrongType } = require('./argument-errors')
const { defaultOf, request: table } = require('./table')

const TIMEOUT = defaultOf(table, 'timeout')

/** How a lock is requested. */
class RequestOptions extends LockOptions {
  renew = true
  mode = defaultOf(table, 'mode')
  /** Whether not to wait. */
  ifAvailable = false
  steal = false
}

/**
 * The options of `request`.
 *
 * @param {unknown} given
 */
function readRequest(given) {
  const read = new RequestOptions()
  if (given !== undefined && given !== null) readOptions(table, given, read)
  if (read.mode === 'shared') throw notSupported('Shared locks are not supported yet')
  if (read.steal) throw notSupported('Stealing is not supported yet')
  if (read.ifAvailable && read.signal !== undefined) {
    throw notSupported('options.signal does not go with options.ifAvailable')
  }
  if (read.ifAvailable && read.timeout !== undefined) {
    throw wrongType('options.timeout does not go with options.ifAvailable')
  }
  read.wait = read.ifAvailable ? 0 : waitOf(read.timeout ?? TIMEOUT)
  return read
}

/** @param {string} message */
function notSupported(message) {
  return new DOMException(message, 'NotSupportedError')
}

module.exports = { notSupported, readRequest }
