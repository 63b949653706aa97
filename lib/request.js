'use strict'

const OPTIONS = ['mode', 'ifAvailable', 'steal', 'signal', 'expire', 'maxHold', 'maxBlocked', 'timeout']

/**
 * Runs a callback under a lock, as the Web Locks specification has it (https://w3c.github.io/web-locks/): the lock is
 * renewed while the callback runs, and what the callback returns or throws comes out untouched.
 *
 * `request(locker, name, callback)` or `request(locker, name, options, callback)`.
 */
async function request(locker, anyName, ...rest) {
  const callback = rest.length > 1 ? rest[1] : rest[0]
  const options = read(rest.length > 1 ? rest[0] : undefined)
  if (typeof callback !== 'function') throw wrongType('callback must be a function')
  // As Web IDL has it, anything but a symbol can be made a name.
  const name = `${anyName}`
  if (name.startsWith('-')) {
    throw notSupported('Names that begin with "-" are reserved')
  }

  const { ifAvailable, signal, expire, maxHold, maxBlocked, timeout } = options
  const locking = { expire, maxHold, maxBlocked, signal, renew: true }
  const lock = ifAvailable
    ? await locker.tryLock(name, { ...locking, timeout: 0 })
    : await locker.lock(name, { ...locking, timeout: timeout ?? Number.POSITIVE_INFINITY })
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

function read(options) {
  if (options === undefined || options === null) return {}
  if (typeof options !== 'object') throw wrongType('options must be an object')
  for (const name in options) {
    if (!OPTIONS.includes(name)) {
      throw wrongType(
        `options has no option "${name}"; known ones are ${OPTIONS.join(', ')}`,
        'ERR_UNKNOWN_OPTION',
      )
    }
  }
  const { mode = 'exclusive', ifAvailable = false, steal = false, signal, timeout } = options
  if (mode !== 'exclusive' && mode !== 'shared')
    throw wrongType(`options.mode must be 'exclusive' or 'shared'`)
  if (mode === 'shared') throw notSupported('Shared locks are not supported yet')
  if (steal) throw notSupported('Stealing is not supported yet')
  if (ifAvailable && signal !== undefined)
    throw notSupported('options.signal does not go with options.ifAvailable')
  if (ifAvailable && timeout !== undefined)
    throw wrongType('options.timeout does not go with options.ifAvailable')
  return options
}

function wrongType(message, code = 'ERR_INVALID_ARG_TYPE') {
  return Object.assign(new TypeError(message), { code })
}

function notSupported(message) {
  return new DOMException(message, 'NotSupportedError')
}

module.exports = { request }
