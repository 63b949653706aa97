'use strict'

const { Context } = require('./context')
const { LockLostError } = require('./errors')
const { hash } = require('./hash')
const { now } = require('./native')

let locks = 0

/** A lock that was granted. */
class Lock {
  #nonce
  #handle
  #locked = true
  #lost
  #controller
  #onLoss
  #granted = now()
  #number = ++locks
  /** That of the call that was granted the lock. */
  #context = new Context()

  /**
   * `nonce`: the name of the lock in the addon. `handle`: the locker's side of its locks: `unlock`, `remaining`, `extend`.
   */
  constructor(resourceId, nonce, token, handle) {
    this.resourceId = resourceId
    this.token = token
    this.#nonce = nonce
    this.#handle = handle
    // A function of its own, so that `.then(lock.unlock)` works; whatever it is called with is ignored.
    this.unlock = () => {
      if (!this.#locked) throw new Error('Not locked')
      this.#locked = false
      return handle.unlock(this, this.#nonce)
    }
  }

  /** The name of the lock in Redis, without the prefix. */
  get key() {
    return hash(this.resourceId)
  }

  /** Computed from the clock at each call: right even when the event loop has just been blocked. */
  get held() {
    return this.remaining() > 0
  }

  remaining() {
    return this.#locked && !this.#lost ? this.#handle.remaining(this.#nonce) : 0
  }

  get signal() {
    this.#controller ??= new AbortController()
    if (this.#lost) this.#controller.abort(this.#lost)
    return this.#controller.signal
  }

  extend(seconds) {
    return this.#handle.extend(this, this.#nonce, seconds)
  }

  /** Gives the lock up if that has not been done. What went wrong with that does not hide what the block did. */
  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    if (this.#locked) await this.unlock().catch(() => {})
  }

  /** No other lock of this thread has it. */
  static numberOf(lock) {
    return lock.#number
  }

  /** Milliseconds since the grant. */
  static heldFor(lock) {
    return now() - lock.#granted
  }

  /** Runs something in the async context of the call that was granted the lock. */
  static inContext(lock, work) {
    lock.#context.runInAsyncScope(work)
  }

  static isOf(value, handle) {
    return typeof value === 'object' && value !== null && #handle in value && value.#handle === handle
  }

  /** Calls `listener` with the error when the lock can no longer be relied on. There is one. */
  static onLoss(lock, listener) {
    lock.#onLoss = listener
    if (lock.#lost) listener(lock.#lost)
  }

  /** Called by the locker when the lock can no longer be relied on. */
  static lose(lock, reason) {
    lock.#lost ??= new LockLostError(lock.resourceId, lock.token, reason)
    lock.#onLoss?.(lock.#lost)
    lock.#controller?.abort(lock.#lost)
  }
}

module.exports = { Lock }
