'use strict'

const { Lock } = require('./lock')

/** Locks on several resources that were granted together, as one. */
class LockSet {
  #locks
  #locked = true
  #controller

  /** `locks`: in the order in which their resources were named. */
  constructor(locks) {
    this.#locks = locks
    this.resourceIds = locks.map(({ resourceId }) => resourceId)
    this.tokens = new Map(locks.map(({ resourceId, token }) => [resourceId, token]))
    // A function of its own, so that `.then(lock.unlock)` works; whatever it is called with is ignored.
    this.unlock = () => {
      if (!this.#locked) throw new Error('Not locked')
      this.#locked = false
      return all(locks.map((lock) => lock.unlock()))
    }
  }

  get held() {
    return this.remaining() > 0
  }

  remaining() {
    return this.#locked ? Math.min(...this.#locks.map((lock) => lock.remaining())) : 0
  }

  get signal() {
    if (!this.#controller) {
      const controller = new AbortController()
      this.#controller = controller
      for (const { signal } of this.#locks) {
        if (signal.aborted) controller.abort(signal.reason)
        else signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true })
      }
    }
    return this.#controller.signal
  }

  extend(seconds) {
    return all(this.#locks.map((lock) => lock.extend(seconds)))
  }

  /** Gives the locks up if that has not been done. What went wrong with that does not hide what the block did. */
  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    if (this.#locked) await this.unlock().catch(() => {})
  }

  /** Calls `listener` with the error of each lock that can no longer be relied on. */
  static onLoss(set, listener) {
    for (const lock of set.#locks) Lock.onLoss(lock, listener)
  }

  /** Whether a value is one of these, and its locks are of this locker. */
  static isOf(value, isOfLocker) {
    return typeof value === 'object' && value !== null && #locks in value && value.#locks.every(isOfLocker)
  }
}

/** Whether all say yes. Whatever goes wrong is told when all have had their answers. */
async function all(asked) {
  await Promise.allSettled(asked)
  return (await Promise.all(asked)).every(Boolean)
}

module.exports = { LockSet }
