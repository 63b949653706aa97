'use strict'

const { setTimeout: sleep } = require('node:timers/promises')
const { Entries } = require('./entries')
const { KEPT, secondOf } = require('./rates')

/** Between two listings, in ms, however many look. */
const PERIOD = 1000

/** Lists what is held and waited for while somebody looks, and tells all who do what has changed. */
class Feed {
  #locker
  #rates
  #entries = new Entries()
  #viewers = new Set()
  /** How much was held and waited for in the last minutes, as far as somebody looked. */
  #history = []
  /** The seconds before this one were told to all viewers. */
  #toldTo = 0
  #isRunning = false
  /** When the last listing began, by the clock that is never set. */
  #last = Number.NEGATIVE_INFINITY

  /** `rates`: of the calls of this process, or `undefined`. */
  constructor(locker, rates) {
    this.#locker = locker
    this.#rates = rates
  }

  /** Tells a viewer everything with the next listing, and from then on what changes. */
  add(viewer) {
    this.#viewers.add(viewer)
    this.#run()
  }

  remove(viewer) {
    this.#viewers.delete(viewer)
  }

  close() {
    for (const viewer of this.#viewers) viewer.end()
    this.#viewers.clear()
  }

  async #run() {
    if (this.#isRunning) return
    this.#isRunning = true
    while (this.#viewers.size > 0) {
      const due = this.#last + PERIOD - performance.now()
      if (due > 0) await sleep(due, undefined, { ref: false })
      if (this.#viewers.size > 0) await this.#list()
    }
    this.#isRunning = false
  }

  async #list() {
    this.#last = performance.now()
    const late = setInterval(() => {
      this.#tell('late', { now: Date.now(), since: Math.round(performance.now() - this.#last) })
    }, PERIOD).unref()
    try {
      this.#publish(await this.#locker.query())
    } catch (error) {
      const { code, message } = /** @type {import('../errors').LockError} */ (error)
      this.#tell('trouble', { now: Date.now(), code, message })
    } finally {
      clearInterval(late)
    }
  }

  #publish(snapshot) {
    const now = Date.now()
    const { put, gone } = this.#entries.update(snapshot, now)
    const seen = { at: now, held: snapshot.held.length, pending: snapshot.pending.length }
    this.#history.push(seen)
    while (this.#history[0].at <= now - KEPT * 1000) this.#history.shift()
    const [from, to] = [this.#toldTo, secondOf(now)]
    this.#toldTo = to
    const rates = (since) => this.#rates?.between(since, to)
    const changes = once(() => ({ now, put, gone, history: [seen], rates: rates(from) }))
    const all = once(() => ({ now, put: this.#entries.all(), history: this.#history, rates: rates(0) }))
    for (const viewer of this.#viewers) {
      if (viewer.isBehind) viewer.send('all', all())
      else viewer.send('changes', changes())
    }
  }

  #tell(event, data) {
    const text = JSON.stringify(data)
    for (const viewer of this.#viewers) viewer.send(event, text)
  }
}

/** The JSON of what is made, the first time that somebody wants it. */
function once(make) {
  let text
  return () => {
    text ??= JSON.stringify(make())
    return text
  }
}

module.exports = { Feed }
