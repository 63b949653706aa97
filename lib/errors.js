'use strict'

const { isNativeError } = require('node:util').types
const { named, quoted, time } = require('./words')

/** Everything that a call rejects with, apart from wrong arguments. */
class LockError extends Error {
  /**
   * @param {string} message
   * @param {{ code?: string, resourceId?: string, cause?: unknown }} [fields]
   */
  constructor(message, { code, resourceId, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    if (resourceId !== undefined) this.resourceId = resourceId
  }
}
Object.defineProperty(LockError.prototype, 'name', { value: 'LockError', configurable: true, writable: true })

/** Somebody else holds the resource. The first two arguments and the fields made of them are those of 1.2.0. */
class ResourceLockedError extends LockError {
  /**
   * @param {string} resourceId
   * @param {number} [numberOfLocks]
   * @param {{ holder?: object | null, leaseLeft?: number, position?: number | null, waited?: number, cause?: unknown }} [more]
   */
  constructor(
    resourceId,
    numberOfLocks,
    { holder = null, leaseLeft, position = null, waited = 0, cause } = {},
  ) {
    const more =
      leaseLeft === undefined ? '' : `: ${whoIsInTheWay(resourceId, { holder, leaseLeft, position, waited })}`
    super(`Resource locked${more}`, { code: 'ERR_RESOURCE_LOCKED', resourceId, cause })
    // Fields of its own that JSON.stringify() shows, as in 1.2.0.
    Object.defineProperty(this, 'name', {
      value: 'ResourceLockedError',
      enumerable: true,
      configurable: true,
    })
    Object.defineProperty(this, 'message', { value: this.message, enumerable: true, configurable: true })
    this.details = { resourceId, numberOfLocks }
    this.holder = holder
    this.leaseLeft = leaseLeft
    this.position = position
  }
}

/** `position`: in the queue, if the call has waited there. */
function whoIsInTheWay(resourceId, { holder, leaseLeft, position, waited }) {
  const free = `free in ${time(leaseLeft)} at the latest, unless it is renewed`
  if (position === null) {
    return `${quoted(resourceId)} is held by ${named(holder)}; ${free}. To wait for it, set options.timeout`
  }
  const still = `${quoted(resourceId)} is still held by ${named(holder)}`
  const queue = `after ${time(waited)} in the queue, at place ${position}`
  return `${still} ${queue}; ${free}. To wait for longer, raise options.timeout or maxRetryAttempts`
}

const lossReasons = {
  expired: 'its lease has ended',
  connection: 'its lease has ended while Redis did not answer',
  stolen: 'somebody else holds it now',
  purged: 'it was removed from Redis',
}

/** A lock can no longer be relied on: the reason that its signal aborts with. */
class LockLostError extends LockError {
  constructor(resourceId, token, reason) {
    const lost = `${lossReasons[reason]} (${quoted(resourceId)}, token ${token})`
    super(`The lock was lost: ${lost}. Stop the work that it protects`, { code: 'ERR_LOCK_LOST', resourceId })
    this.token = token
    this.reason = reason
  }
}

/** Redis could not be reached, or did not answer in time. */
class ConnectionError extends LockError {}

/** Redis answered with an error. */
class RedisError extends LockError {}

/** Too few replicas had the lock in time, which was given back. */
class ReplicationError extends LockError {
  /**
   * @param {string} message
   * @param {{ resourceId: string, wanted: number, confirmed: number, cause?: unknown }} fields
   */
  constructor(message, { resourceId, wanted, confirmed, cause }) {
    super(message, { code: 'ERR_REPLICATION', resourceId, cause })
    this.details = { resourceId, wanted, confirmed }
  }
}

/** The locker was closed. */
class ClosedError extends LockError {}

// Said once more: a minifier gives the classes other names.
for (const [name, Class] of Object.entries({
  LockLostError,
  ConnectionError,
  RedisError,
  ReplicationError,
  ClosedError,
})) {
  Object.defineProperty(Class.prototype, 'name', { value: name, configurable: true, writable: true })
}

const classes = {
  ERR_CONNECTION: ConnectionError,
  ERR_CLOSED: ClosedError,
  ERR_CANCELLED: LockError,
  ERR_INTERNAL: LockError,
}

/**
 * Makes the error of what the native side rejected with or threw. What is not from there passes through. `resources`: a name, an
 * array of names, or nothing. `waited`: how long the call has taken, if it may have waited.
 */
function toError(failure, resources, waited) {
  if (isNativeError(failure) || typeof failure?.code !== 'string') return failure
  if (!Array.isArray(resources)) return errorOf(failure, resources, waited)
  return Object.assign(errorOf(failure, failure.resourceId, waited), { resourceIds: resources })
}

function errorOf(failure, resourceId, waited) {
  const { name, code, message, cause } = failure
  if (name === 'TypeError') return Object.assign(new TypeError(message), { code })
  if (name === 'RangeError') return Object.assign(new RangeError(message), { code })
  if (code === 'ERR_RESOURCE_LOCKED') {
    const { holder, numberOfLocks, leaseLeft, position } = failure
    return new ResourceLockedError(resourceId, numberOfLocks, {
      holder: dated(holder),
      leaseLeft,
      position,
      waited,
    })
  }
  if (code === 'ERR_REPLICATION') {
    const { wanted, confirmed } = failure
    return new ReplicationError(message, { resourceId, wanted, confirmed, cause: cause && causeOf(cause) })
  }
  const Class = classes[code] ?? RedisError
  return new Class(message, { code, resourceId, cause: cause && causeOf(cause) })
}

/** A holder or waiter, of whom the native side tells times as numbers, where they are known. */
function dated(who) {
  return who && { ...who, since: who.since === null ? null : new Date(who.since) }
}

/** As the addon has it, too, where an answer takes too long. */
function grantedTooLate(resourceId) {
  const message = 'The lock was granted, but too late to be relied on: its lease (options.expire) was over'
  return new ConnectionError(message, { code: 'ERR_CONNECTION', resourceId })
}

/** Calls a native function that may throw. */
function checked(call) {
  try {
    return call()
  } catch (failure) {
    throw toError(failure)
  }
}

/** An error from below. It did not happen in JavaScript, so it has no stack there. */
function causeOf({ message, code }) {
  const cause = new Error(message)
  cause.stack = `Error: ${message}`
  return Object.assign(cause, { code })
}

module.exports = {
  LockError,
  LockLostError,
  ResourceLockedError,
  ConnectionError,
  RedisError,
  ReplicationError,
  ClosedError,
  checked,
  dated,
  grantedTooLate,
  toError,
}
