'use strict'

/** The end of a lease is told again only when it is off by more, in ms: a listing does not look at all locks at once. */
const TOLERANCE = 300

/**
 * What was listed last, each lock that is held and each call that waits with an id of its own, and what another listing
 * changes about it.
 */
class Entries {
  #entries = new Map()
  #lastId = 0

  /** All of them, in the order of the listing they came with. */
  all() {
    return [...this.#entries.values()]
  }

  /**
   * Takes over a listing.
   *
   * @param {{ held: readonly object[], pending: readonly object[] }} snapshot Of `locker.query()`.
   * @param {number} now By this process's clock, which the ends of the leases go by.
   * @returns What is new or different, and the ids of what has gone.
   */
  update({ held, pending }, now) {
    const before = this.#entries
    this.#entries = new Map()
    const put = []
    const take = (kind, { leaseLeft, ...said }) => {
      const key = this.#freeKey(kind, said)
      const known = before.get(key)
      const end = leaseLeft === undefined ? undefined : Math.round(now + leaseLeft)
      if (known !== undefined && isNear(known.end, end)) {
        this.#entries.set(key, known)
      } else {
        const entry = { id: known?.id ?? ++this.#lastId, kind, ...said, end }
        this.#entries.set(key, entry)
        put.push(entry)
      }
      before.delete(key)
    }
    for (const lock of held) take('held', lock)
    for (const call of pending) take('pending', call)
    return { put, gone: [...before.values()].map(({ id }) => id) }
  }

  /** Calls that one locker made in the same millisecond are told apart by their order alone. @param {string} kind @param {any} said */
  #freeKey(kind, said) {
    const { name, mode, clientId, since, token } = said
    const key = [kind, mode, clientId, since?.getTime(), token, name].join(' ')
    if (!this.#entries.has(key)) return key
    for (let count = 2; ; count++) {
      const numbered = `${count} ${key}`
      if (!this.#entries.has(numbered)) return numbered
    }
  }
}

function isNear(told, end) {
  return told === end || Math.abs(told - end) <= TOLERANCE
}

module.exports = { Entries }
