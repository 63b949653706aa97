'use strict'

const { subscribe, unsubscribe } = require('node:diagnostics_channel')

/** So many seconds are kept. */
const KEPT = 300

/** The upper bounds of the classes that waits are sorted into, in ms. The last class has none. */
const BOUNDS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000]

/**
 * What the calls of this thread have come to, second by second, by the diagnostics channels. Seconds in which nothing has
 * happened are left out.
 */
class Rates {
  /** The last one may still be going on. */
  #seconds = []
  /** @type {{ [channel: string]: (message: any) => void }} */
  #subscriptions = {
    'lock-inc:acquire': ({ duration }) => {
      const second = this.#now()
      second.grants++
      second.waits[classOf(duration)]++
    },
    'lock-inc:contended': () => {
      this.#now().refusals++
    },
    'lock-inc:lost': () => {
      this.#now().losses++
    },
  }

  constructor() {
    for (const [name, heard] of Object.entries(this.#subscriptions)) subscribe(name, heard)
  }

  close() {
    for (const [name, heard] of Object.entries(this.#subscriptions)) unsubscribe(name, heard)
  }

  /** The seconds from one on, up to another that is over. */
  between(from, to) {
    return this.#seconds.filter(({ at }) => at >= from && at < to)
  }

  #now() {
    const at = secondOf(Date.now())
    let second = this.#seconds.at(-1)
    if (second?.at !== at) {
      second = { at, grants: 0, refusals: 0, losses: 0, waits: Array(BOUNDS.length + 1).fill(0) }
      this.#seconds.push(second)
      while (this.#seconds[0].at <= at - KEPT) this.#seconds.shift()
    }
    return second
  }
}

function secondOf(time) {
  return Math.floor(time / 1000)
}

function classOf(duration) {
  const place = BOUNDS.findIndex((bound) => duration < bound)
  return place < 0 ? BOUNDS.length : place
}

module.exports = { BOUNDS, KEPT, Rates, secondOf }
