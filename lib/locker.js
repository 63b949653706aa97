'use strict'

const { ResourceLockedError, checked, toError } = require('./errors')
const { Lock } = require('./lock')

/**
 * The public face of a native locker. The methods are fields, so that they work detached, as those of 1.2.0 do.
 * None of them is async: wrong arguments throw at once, before there is a promise.
 */
class Locker {
  ResourceLockedError = ResourceLockedError
  #native

  constructor(native) {
    this.#native = native
  }

  lock = (resourceId, options) => this.#grant(this.#call('lock', resourceId, options), resourceId)

  unlock = (lockOrResourceId) => {
    if (Lock.isOf(lockOrResourceId, this)) return lockOrResourceId.unlock()
    if (lockOrResourceId instanceof Lock) throw new TypeError('The lock was taken by another locker')
    return this.#call('unlock', lockOrResourceId)
  }

  isLocked = (resourceId) => this.#call('isLocked', resourceId)

  purge = () => this.#call('purge')

  close = () => this.#call('close')

  #call(method, resourceId, argument) {
    return settled(
      checked(() => this.#native[method](resourceId, argument)),
      resourceId,
    )
  }

  async #grant(promise, resourceId) {
    const token = await promise
    return new Lock(this, resourceId, token, () => this.#call('unlock', resourceId, token))
  }
}

/** Waits for the native side. The error is made here, so that its stack shows who was waiting. */
async function settled(promise, resourceId) {
  try {
    return await promise
  } catch (failure) {
    throw toError(failure, resourceId)
  }
}

module.exports = { Locker }
