'use strict'

const native = require('./native')
const { checkHashInput } = require('./options/resource')

/**
 * Base64 of the SHA-256 of a string: the name of a resource's lock in Redis, without the prefix.
 *
 * @param {string} text
 */
function hash(text) {
  checkHashInput(text)
  return native.hash(text)
}

module.exports = { hash }
