'use strict'

/** Locks by the resource that they are on: which one is the newest. */
class Newest {
  /**
   * Not a Map: beside many other names, one that comes and goes leaves ever more behind in it that each look at that name has
   * to pass.
   */
  #newest = Object.create(null)
  /** Where there are several: the others, the oldest first. */
  #older = Object.create(null)

  of(resourceId) {
    return this.#newest[resourceId]
  }

  add(lock) {
    const { resourceId } = lock
    const before = this.#newest[resourceId]
    this.#newest[resourceId] = lock
    if (before === undefined) return
    this.#older[resourceId] ??= []
    this.#older[resourceId].push(before)
  }

  /** It may have been removed before. */
  remove(lock) {
    const { resourceId } = lock
    const older = this.#older[resourceId]
    if (this.#newest[resourceId] === lock) {
      if (older) this.#newest[resourceId] = older.pop()
      else delete this.#newest[resourceId]
    } else if (older?.includes(lock)) {
      older.splice(older.indexOf(lock), 1)
    }
    if (older?.length === 0) delete this.#older[resourceId]
  }
}

module.exports = { Newest }
