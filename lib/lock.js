'use strict'

const { hash } = require('./hash')

/** A lock that was granted. */
class Lock {
  #owner

  /** `release`: gives the lock up and returns the promise of it. `owner`: the locker it came from. */
  constructor(owner, resourceId, token, release) {
    this.#owner = owner
    this.resourceId = resourceId
    this.token = token
    let locked = true
    // A function of its own, so that `.then(lock.unlock)` works; whatever it is called with is ignored.
    this.unlock = () => {
      if (!locked) throw new Error('Not locked')
      locked = false
      return release()
    }
  }

  /** The name of the lock in Redis, without the prefix. */
  get key() {
    return hash(this.resourceId)
  }

  static isOf(value, owner) {
    return typeof value === 'object' && value !== null && #owner in value && value.#owner === owner
  }
}

module.exports = { Lock }
