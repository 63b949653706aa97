'use strict'

/** For so long an answer is for all who ask, in ms: as long as it is until the next listing. */
const PERIOD = 1000

/** Inspects a resource once a second at the most, however many look at it. */
class Inspections {
  #locker
  #latest = new Map()

  constructor(locker) {
    this.#locker = locker
  }

  /** Throws at once where this is no name. */
  of(name) {
    const now = performance.now()
    for (const [other, { begun }] of this.#latest) {
      if (now - begun < PERIOD) break
      this.#latest.delete(other)
    }
    const known = this.#latest.get(name)
    if (known !== undefined) return known.answer
    const answer = this.#afresh(name)
    this.#latest.set(name, { begun: now, answer })
    return answer
  }

  forget(name) {
    this.#latest.delete(name)
  }

  async #afresh(name) {
    const found = await this.#locker.inspect(name)
    const now = Date.now()
    const holders = found?.holders.map(({ leaseLeft, ...holder }) => ({ ...holder, end: now + leaseLeft }))
    return { now, found: found && { ...found, holders } }
  }
}

module.exports = { Inspections }
