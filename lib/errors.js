/** Everything that a call rejects with, apart from wrong arguments. */
class LockError extends Error {
  constructor(message, { code, resourceId, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    if (resourceId !== undefined) this.resourceId = resourceId
  }
}
Object.defineProperty(LockError.prototype, 'name', { value: 'LockError', configurable: true, writable: true })

/** Somebody else holds the resource. The first two arguments and the fields made of them are those of 1.2.0. */
class ResourceLockedError extends LockError {
  constructor(resourceId, numberOfLocks, { holder = null, leaseLeft, cause } = {}) {
    super('Resource locked', { code: 'ERR_RESOURCE_LOCKED', resourceId, cause })
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
  }
}

/** Redis could not be reached, or did not answer in time. */
class ConnectionError extends LockError {}

/** Redis answered with an error. */
class RedisError extends LockError {}

/** The locker was closed. */
class ClosedError extends LockError {}

for (const Class of [ConnectionError, RedisError, ClosedError]) {
  Object.defineProperty(Class.prototype, 'name', { value: Class.name, configurable: true, writable: true })
}

const classes = { ERR_CONNECTION: ConnectionError, ERR_CLOSED: ClosedError }

/** Makes the error for what the native side rejected with. Errors of JavaScript pass through. */
function toError(failure, resourceId) {
  if (failure instanceof Error) return failure
  if (failure.code === 'ERR_RESOURCE_LOCKED') {
    const { holder, leaseLeft, numberOfLocks } = failure
    const known = holder && { ...holder, since: new Date(holder.since) }
    return new ResourceLockedError(resourceId, numberOfLocks, { holder: known, leaseLeft })
  }
  const cause = failure.cause && causeOf(failure.cause)
  const Class = classes[failure.code] ?? RedisError
  return new Class(failure.message, { code: failure.code, resourceId, cause })
}

/** An error from below. It did not happen in JavaScript, so it has no stack there. */
function causeOf({ message, code }) {
  const cause = new Error(message)
  cause.stack = `Error: ${message}`
  return Object.assign(cause, { code })
}

module.exports = { LockError, ResourceLockedError, ConnectionError, RedisError, ClosedError, toError }
