'use strict'

const { kill, runLocker } = require('./child')
const { until } = require('./until')

const timeout = Number.POSITIVE_INFINITY

/**
 * Those who lock: a locker of this process, or one in a process of its own. What comes of a call is in `call.outcome`:
 * `{ tokens, lock }`, without `lock` for a process of its own, or `{ error }`.
 */
class LocalParty {
  constructor(name, locker) {
    this.name = name
    this.locker = locker
  }

  /** `method`: `lock` or `tryLock`. */
  ask(call, method, options) {
    const controller = new AbortController()
    call.abort = () => controller.abort(new Error('cancelled'))
    const named = call.asArray ? call.names : call.names[0]
    const signal = options.timeout === timeout ? controller.signal : undefined
    return this.locker[method](named, { ...options, signal }).then(
      (lock) => {
        const tokens = lock && (lock.tokens ?? new Map([[lock.resourceId, lock.token]]))
        call.outcome = lock ? { lock, tokens } : { error: 'null' }
      },
      (error) => {
        call.outcome = { error }
      },
    )
  }

  async stateOf({ outcome }) {
    if (!outcome) return 'waiting'
    if (outcome.error) return `error ${outcome.error.message}`
    const { held, signal } = outcome.lock
    if (held) return signal.aborted ? 'held, and lost' : 'held'
    return signal.aborted ? 'lost' : 'not held'
  }

  unlock({ outcome }) {
    return outcome.lock.unlock()
  }
}

/** Waits for ever, for one resource at a time. */
class ChildParty {
  #process

  constructor(name, spec) {
    this.name = name
    this.#process = runLocker(spec)
  }

  ready() {
    return until(() => this.#process.heard.includes('ready'), `${this.name} is ready`)
  }

  ask(call, _method, { timeout, ...options }) {
    // It waits for ever in any case, and `Infinity` does not go through JSON.
    const hears = (field) => this.#process.heard.find((message) => message.id === call.id && field in message)
    call.abort = () => this.#process.send({ id: call.id, call: 'abort' })
    Object.defineProperty(call, 'outcome', {
      get: () => {
        if (hears('error')) return { error: hears('error').error }
        const heard = hears('token')
        return heard && { tokens: new Map([[call.names[0], heard.token]]) }
      },
    })
    this.#process.send({ id: call.id, call: 'lock', resource: call.names[0], options })
  }

  async stateOf({ id, outcome }) {
    if (!outcome) return 'waiting'
    if (outcome.error) return `error ${outcome.error}`
    return (await this.#answer(id, 'held')) ? 'held' : 'lost'
  }

  unlock({ id }) {
    return this.#answer(id, 'unlock', 'unlocked')
  }

  async #answer(id, call, field = call) {
    const before = this.#process.heard.length
    this.#process.send({ id, call })
    const answer = () =>
      this.#process.heard.slice(before).find((message) => message.id === id && field in message)
    return (await until(answer, `${this.name} answers`))[field]
  }

  /** It dies, at once. */
  async kill() {
    this.isDead = true
    kill(this.#process.child)
    await this.#process.ended
  }
}

module.exports = { ChildParty, LocalParty }
