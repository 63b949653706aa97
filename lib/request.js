'use strict'

const { Lock } = require('./lock')
const { LockSet } = require('./lock-set')
const { ResourceLockedError } = require('./errors')
const { wrongType } = require('./options/argument-errors')
const { checkRequest, notSupported, readRequest } = require('./options/request')

/**
 * Runs a callback under a lock, as the Web Locks specification has it (https://w3c.github.io/web-locks/): the lock is
 * renewed while the callback runs, and what the callback returns or throws comes out untouched.
 *
 * `request(take, name, callback)` or `request(take, name, options, callback)`. `take(name, options)`: a promise of the
 * lock, or of `null`.
 */
async function request(take, anyName, ...rest) {
  // First all arguments are converted, in their order, as Web IDL has it; then come the checks of the specification.
  const names = Array.isArray(anyName) ? anyName.map(nameOf) : nameOf(anyName)
  const options = readRequest(rest.length > 1 ? rest[0] : undefined)
  const callback = rest.length > 1 ? rest[1] : rest[0]
  if (typeof callback !== 'function') throw wrongType('callback must be a function')
  checkNames(names)
  checkRequest(options)

  const lock = await (options.steal ? stealing(take(names, options)) : take(names, options))
  if (lock === null) return callback(null)
  const { signal } = options
  if (signal?.aborted) {
    // Since the grant, by something that ran before this. If giving it back fails, that goes on in the background.
    lock.unlock().catch(() => {})
    throw signal.reason
  }
  const stolen = whenStolen(lock)
  return await Promise.race([run(callback, new RequestedLock(names, options.mode, lock), lock), stolen])
}

/** As Web IDL has it, anything but a symbol can be made a name. */
function nameOf(any) {
  return `${any}`
}

function checkNames(names) {
  for (const name of Array.isArray(names) ? names : [names]) {
    if (name.startsWith('-')) throw notSupported('Names that begin with "-" are reserved')
  }
}

/** A lock may be stolen again before it is here: then somebody else holds it. */
async function stealing(taking) {
  try {
    return await taking
  } catch (error) {
    throw error instanceof ResourceLockedError ? stolenError(error) : error
  }
}

async function run(callback, requested, lock) {
  try {
    return await callback(requested)
  } finally {
    // Of an unlock that failed, the rest is done in the background; nothing of it may hide what the callback did.
    await lock.unlock().catch(() => {})
  }
}

/** Rejects when somebody has stolen the lock. The callback goes on. */
function whenStolen(lock) {
  return new Promise((_, reject) => {
    const { onLoss } = lock instanceof LockSet ? LockSet : Lock
    onLoss(lock, (loss) => {
      if (loss.reason === 'stolen') reject(stolenError(loss))
    })
  })
}

function stolenError(cause) {
  const error = new DOMException('The lock was stolen: somebody else holds it now', 'AbortError')
  return Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true })
}

/** What the callback gets: of several names, `names` and `tokens` instead of `name` and `token`. */
class RequestedLock {
  #lock

  constructor(names, mode, lock) {
    if (Array.isArray(names)) {
      this.names = lock.resourceIds
      this.tokens = lock.tokens
    } else {
      this.name = names
      this.token = lock.token
    }
    this.mode = mode
    this.#lock = lock
  }

  get signal() {
    return this.#lock.signal
  }
}

module.exports = { request }
