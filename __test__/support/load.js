'use strict'

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Sees whoever is let in, and notes where two are inside, or where a token is no greater than one before. */
class Witness {
  /** What must not be, in words. */
  faults = []
  #inside = new Map()
  #tokens = new Map()

  /** From when a call has resolved on. */
  enter(lock) {
    const { resourceId, token } = lock
    if (this.#inside.get(resourceId)?.held) this.faults.push(`${resourceId}: two are inside`)
    this.#inside.set(resourceId, lock)
    const last = this.#tokens.get(resourceId) ?? 0
    if (token <= last) this.faults.push(`${resourceId}: token ${token} after ${last}`)
    this.#tokens.set(resourceId, token)
    return lock
  }

  /** Before the unlock is sent. */
  leave(lock) {
    if (this.#inside.get(lock.resourceId) === lock) this.#inside.delete(lock.resourceId)
  }

  /** Leaves, and gives the lock up; whether it was still held. */
  unlock(lock) {
    this.leave(lock)
    return lock.unlock()
  }
}

/** Those who take and give up locks over and over, while something happens. */
class Load {
  /** How many locks were granted, by resource. */
  grants = new Map()
  /** The longest that anybody waited for a lock, in ms. */
  longest = 0
  #witness
  #options
  #workers = []
  #ends = false

  /** `hold`: for how many ms each lock is held; the rest are options of each lock. */
  constructor({ witness = new Witness(), hold = 2, ...options } = {}) {
    this.#witness = witness
    this.#options = { hold, timeout: 60_000, ...options }
  }

  /** One more that takes the lock on a resource through a locker. */
  add(locker, resource) {
    this.#workers.push(this.#work(locker, resource))
    return this
  }

  /** Each of these lockers and each of the resources. */
  addAll(lockers, resources) {
    for (const locker of lockers) for (const resource of resources) this.add(locker, resource)
    return this
  }

  get faults() {
    return this.#witness.faults
  }

  /** The least that any resource was granted. */
  get least() {
    return Math.min(...this.grants.values())
  }

  /** Ends when each has given up its last lock. */
  async stop() {
    this.#ends = true
    await Promise.all(this.#workers)
    return this
  }

  async #work(locker, resource) {
    const { hold, ...options } = this.#options
    this.grants.set(resource, this.grants.get(resource) ?? 0)
    while (!this.#ends) {
      const begin = performance.now()
      try {
        const lock = this.#witness.enter(await locker.lock(resource, options))
        this.longest = Math.max(this.longest, performance.now() - begin)
        this.grants.set(resource, this.grants.get(resource) + 1)
        await sleep(hold)
        const { signal } = lock
        const unlocking = performance.now()
        if (!(await this.#witness.unlock(lock))) {
          const after = Math.round(performance.now() - unlocking)
          this.faults.push(
            `${resource}: a lock was lost (${signal.reason?.reason}), found ${after} ms after unlock`,
          )
        }
      } catch (error) {
        this.faults.push(`${resource}: after ${Math.round(performance.now() - begin)} ms ${describe(error)}`)
        // The test has failed before it could stop it.
        if (error.code === 'ERR_CLOSED') return
        await sleep(20)
      }
    }
  }
}

function describe({ name, code, message, cause }) {
  return `${name} ${code}: ${message}${cause ? ` (${cause.code}: ${cause.message})` : ''}`
}

module.exports = { Load, sleep, Witness }
