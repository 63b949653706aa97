'use strict'

const { checked } = require('./errors')
const native = require('../native')

/** Base64 of the SHA-256 of a string: the name of a resource's lock in Redis, without the prefix. */
function hash(text) {
  return checked(() => native.hash(text))
}

module.exports = { hash }
