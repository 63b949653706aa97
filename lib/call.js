'use strict'

const { Context } = require('./context')
const { isWatched, topics } = require('./diagnostics')
const { ResourceLockedError, dated } = require('./errors')
const { now } = require('./native')

let calls = 0

/** A call that asks for locks, and what the diagnostics channels are told of it. */
class Call {
  /** No other call of this thread has it. */
  number = ++calls
  start = now()
  /** Whether it had to wait for somebody else. */
  waited = false
  /** That of the caller, where what comes from the addon is to be told. */
  #context
  #about

  /** `resources`: a name, or an array. `options`: read. */
  constructor(prefix, resources, options) {
    this.#about = { prefix, resources, options }
    if (isWatched()) this.#context = new Context()
    topics.ask.publish(() => {
      const { mode, limit, expire, renew, wait, steal } = options
      const limited = mode === 'shared' && limit > 0 ? limit : null
      return { ...this.#fields(), mode, limit: limited, expire, renew, timeout: wait, steal }
    })
  }

  get isWatched() {
    return this.#context !== undefined
  }

  /** Milliseconds since it was made. */
  get duration() {
    return now() - this.start
  }

  /** It is in the queue. `contention`: who is in the way, as the addon has it. */
  onWait({ resourceId, holder, leaseLeft, position, numberOfLocks }) {
    this.waited = true
    const waiting = { holder: dated(holder) ?? null, leaseLeft, position: position ?? null, numberOfLocks }
    this.#context?.runInAsyncScope(() =>
      topics.wait.publish(() => ({ call: this.number, prefix: this.#about.prefix, resourceId, ...waiting })),
    )
  }

  /** A lock was granted to it. `about`: what is told of each lock. */
  onGrant(about) {
    const { mode } = this.#about.options
    const { waited } = this
    topics.acquire.publish(() => ({ call: this.number, ...about(), mode, waited, duration: this.duration }))
  }

  /** It has ended without a lock. */
  onFailure(error, aborted) {
    if (!(error instanceof ResourceLockedError)) {
      const { mode } = this.#about.options
      return topics.fail.publish(() => ({ ...this.#fields(), mode, error, aborted, duration: this.duration }))
    }
    topics.contended.publish(() => {
      const { resourceId, holder, leaseLeft, position, details } = error
      const { prefix, options } = this.#about
      return {
        call: this.number,
        prefix,
        resourceId,
        mode: options.mode,
        holder,
        leaseLeft,
        position,
        numberOfLocks: details.numberOfLocks,
        duration: this.duration,
      }
    })
  }

  #fields() {
    const { prefix, resources } = this.#about
    const resourceIds = Array.isArray(resources) ? resources : [resources]
    return { call: this.number, prefix, resourceIds }
  }
}

module.exports = { Call }
