'use strict'

const { wrongType } = require('./options/argument-errors')
const { notSupported, readRequest } = require('./options/request')

/**
 * Runs a callback under a lock, as the Web Locks specification has it (https://w3c.github.io/web-locks/): the lock is
 * renewed while the callback runs, and what the callback returns or throws comes out untouched.
 *
 * `request(take, name, callback)` or `request(take, name, options, callback)`. `take(name, options)`: a promise of the
 * lock, or of `null`.
 */
async function request(take, anyName, ...rest) {
  const callback = rest.length > 1 ? rest[1] : rest[0]
  const options = readRequest(rest.length > 1 ? rest[0] : undefined)
  if (typeof callback !== 'function') throw wrongType('callback must be a function')
  // As Web IDL has it, anything but a symbol can be made a name.
  const name = `${anyName}`
  if (name.startsWith('-')) throw notSupported('Names that begin with "-" are reserved')

  const lock = await take(name, options)
  if (lock === null) return callback(null)
  try {
    return await callback(new RequestedLock(name, lock))
  } finally {
    // Of an unlock that failed, the rest is done in the background; nothing of it may hide what the callback did.
    await lock.unlock().catch(() => {})
  }
}

/** What the callback gets. */
class RequestedLock {
  #lock

  constructor(name, lock) {
    this.name = name
    this.mode = 'exclusive'
    this.token = lock.token
    this.#lock = lock
  }

  get signal() {
    return this.#lock.signal
  }
}

module.exports = { request }
