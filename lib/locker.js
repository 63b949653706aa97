'use strict'

const { callSite, locate } = require('./call-site')
const { Context } = require('./context')
const channels = require('./diagnostics')
const { ResourceLockedError, dated, grantedTooLate, toError } = require('./errors')
const { Lock } = require('./lock')
const { readExtend, readLock } = require('./options/lock')
const { checkResource } = require('./options/resource')
const { now } = require('./native')
const { request } = require('./request')
const { onAbort } = require('./cancellations')
const { gatherCalls } = require('./gather-calls')

/** The lease in milliseconds that a lock begins with which was waited for, if it was asked for a longer one. */
const FIRST_LEASE = 5000

/**
 * Lockers that hold locks. They stay, whoever has let go of them; one that holds nothing, and of which no call is under way,
 * is collected then, and the native side closes it.
 */
const holding = new Set()

/**
 * The public face of a native locker. The methods are fields, so that they work detached, as those of 1.2.0 do.
 * Only `request` is async: elsewhere wrong arguments throw at once, before there is a promise.
 */
class Locker {
  ResourceLockedError = ResourceLockedError
  /** @type {import('./native').Locker} */
  #native
  #Cancellation
  /** That of the call of `lockFactory`. */
  #context = new Context()
  /** The longest that a call may take, in milliseconds. */
  #commandTimeout
  /** Locks that are neither unlocked nor lost, by their tokens. */
  #held = new Map()
  /**
   * The newest of them on each resource. Not a Map: beside many other names, one that comes and goes leaves ever more
   * behind in it that each look at that name has to pass.
   */
  #newest = Object.create(null)
  /** How many grants are awaited; the tokens of those whose loss was told before, and how often renewals of others were. */
  #awaited = 0
  #lostEarly = new Set()
  #renewedEarly = new Map()

  /** What a lock needs of its locker. */
  #handle = {
    unlock: (lock) => this.#unlock(lock),
    remaining: ({ resourceId, token }) => this.#native.remaining(resourceId, token),
    extend: ({ resourceId, token }, seconds) => this.#call('extend', resourceId, token, readExtend(seconds)),
  }

  /** `make`: makes the native locker, given who is to hear of its events. */
  constructor(make, Cancellation, commandTimeout) {
    this.#commandTimeout = commandTimeout
    this.#native = make((event, resourceId, token, detail) => this.#hear(event, resourceId, token, detail))
    this.#Cancellation = Cancellation
  }

  lock = (resourceId, options) => {
    checkResource(resourceId)
    return this.#lock(resourceId, readLock(options), this.lock)
  }

  tryLock = (resourceId, options) => unlessLocked(this.lock(resourceId, options))

  unlock = (lockOrResourceId) => {
    if (Lock.isOf(lockOrResourceId, this.#handle)) return lockOrResourceId.unlock()
    if (lockOrResourceId instanceof Lock) throw new TypeError('The lock was taken by another locker')
    const newest = typeof lockOrResourceId === 'string' ? this.#newest[lockOrResourceId] : undefined
    return newest ? newest.unlock() : this.#callAbout('unlock', lockOrResourceId)
  }

  request = (...args) => request((resourceId, options) => this.#request(resourceId, options), ...args)

  isLocked = (resourceId) => this.#callAbout('isLocked', resourceId)

  inspect = (resourceId) => inspection(this.#callAbout('inspect', resourceId))

  forceUnlock = (resourceId) => this.#callAbout('forceUnlock', resourceId)

  purge = () => this.#call('purge')

  close = () => this.#call('close')

  /** `options`: read, by `readLock` or `readRequest`. `called`: by the user. */
  #lock(resourceId, options, called) {
    const site = callSite(called)
    const { expire, retryInterval, renew, maxHold, maxBlocked, signal } = options
    const cancellation = signal && new this.#Cancellation()
    // Before anything is sent: the signal is somebody else's object, and may throw.
    const forget = signal && onAbort(signal, cancellation)
    const attempt = (wait) => {
      const granting = this.#native.lock(
        resourceId,
        expire,
        wait,
        retryInterval,
        renew,
        maxHold,
        maxBlocked,
        channels.renew.hasSubscribers,
        cancellation,
      )
      gatherCalls()
      return granting
    }
    return this.#grant(attempt(options.wait), attempt, resourceId, options, forget, site)
  }

  /** A lock for `request`; `null` where somebody else holds it and the request does not wait. */
  #request(resourceId, options) {
    checkResource(resourceId)
    const locking = this.#lock(resourceId, options, this.request)
    return options.ifAvailable ? unlessLocked(locking) : locking
  }

  /** Calls a method that is about one resource, of which only the name has to be checked. */
  #callAbout(method, resourceId) {
    checkResource(resourceId)
    return this.#call(method, resourceId)
  }

  #call(method, resourceId, ...args) {
    // `extend` is a method of the lock alone.
    const site = callSite(this[method] ?? Lock.prototype.extend)
    const promise = this.#native[method](resourceId, ...args)
    gatherCalls()
    return this.#settled(promise, resourceId, site)
  }

  /**
   * Waits for the native side, and shows in its error where the call was made. A method, so that a locker of which a call is
   * under way is not collected.
   */
  async #settled(promise, resourceId, site) {
    try {
      return await promise
    } catch (failure) {
      throw locate(toError(failure, resourceId), site)
    }
  }

  /** `attempt`: asks once more, given how long to wait. `forget`: the signal is of no account any more. */
  async #grant(granting, attempt, resourceId, { expire, wait, signal }, forget, site) {
    const start = now()
    this.#awaited++
    let lock
    try {
      let token = await granting
      for (let asked = start; !this.#isHeld(resourceId, token, expire, asked); ) {
        asked = now()
        token = await attempt(this.#timeLeft(wait, asked - start, resourceId))
      }
      lock = new Lock(resourceId, token, this.#handle)
      this.#enter(lock)
      publish(channels.acquire, () => ({ resourceId, token, duration: now() - start }))
      this.#publishEarlyRenewals(resourceId, token)
    } catch (failure) {
      const error = locate(toError(failure, resourceId), site)
      if (signal?.aborted && error?.code === 'ERR_CANCELLED') throw signal.reason
      if (error instanceof ResourceLockedError) {
        const { holder, leaseLeft, position, details } = error
        const message = { resourceId, holder, leaseLeft, position, numberOfLocks: details.numberOfLocks }
        publish(channels.contended, () => ({ ...message, duration: now() - start }))
      }
      throw error
    } finally {
      forget?.()
      if (--this.#awaited === 0) {
        this.#lostEarly.clear()
        this.#renewedEarly.clear()
      }
    }
    if (!signal?.aborted) return lock
    // The grant has crossed the cancel. If giving it back fails, that goes on in the background.
    lock.unlock().catch(() => {})
    throw signal.reason
  }

  /** Whether a grant can be relied on, of which this thread may hear late. If not, it is given back. */
  #isHeld(resourceId, token, expire, asked) {
    const isLost = this.#lostEarly.has(token)
    // In so short a time no lease ends, the first one of a lock that was waited for included.
    const isYoung = now() - asked < Math.min(expire, FIRST_LEASE) / 2
    if (!isLost && (isYoung || this.#native.remaining(resourceId, token) > 0)) return true
    // If that fails, it goes on in the background. Nobody asks any more what was heard of it meanwhile.
    this.#native
      .unlock(resourceId, token)
      .catch(() => {})
      .finally(() => this.#forgetEarly(token))
    return false
  }

  /** For how long an attempt may wait that follows others, which have taken some time. */
  #timeLeft(wait, taken, resourceId) {
    if (taken >= (wait || this.#commandTimeout)) throw grantedTooLate(resourceId)
    return wait && wait - taken
  }

  async #unlock(lock) {
    const { resourceId, token } = lock
    const site = callSite(lock.unlock)
    this.#unlist(lock)
    const released = (held, error) => ({
      resourceId,
      token,
      held,
      error,
      duration: Lock.heldFor(lock),
    })
    try {
      const releasing = this.#native.unlock(resourceId, token)
      gatherCalls()
      const held = await releasing
      publish(channels.release, () => released(held))
      return held
    } catch (failure) {
      const error = locate(toError(failure, resourceId), site)
      publish(channels.release, () => released(undefined, error))
      throw error
    } finally {
      // Only now: until then it may be told that the lock was lost before.
      this.#remove(token)
    }
  }

  #enter(lock) {
    this.#held.set(lock.token, lock)
    this.#newest[lock.resourceId] = lock
    holding.add(this)
  }

  #remove(token) {
    this.#held.delete(token)
    if (this.#held.size === 0) holding.delete(this)
  }

  /** From here on it is not the lock that `unlock(resourceId)` means. */
  #unlist(lock) {
    if (this.#newest[lock.resourceId] === lock) delete this.#newest[lock.resourceId]
  }

  #hear(event, resourceId, token, detail) {
    if (event === 'reconnect') {
      return this.#context.runInAsyncScope(publish, undefined, channels.reconnect, () => ({ locker: this }))
    }
    const lock = this.#held.get(token)
    if (lock === undefined) {
      // Unlocked meanwhile, or its grant is still on the way.
      if (this.#awaited > 0) this.#hearEarly(event, token)
      return
    }
    if (event === 'renew') {
      return Lock.inContext(lock, () => publish(channels.renew, () => ({ resourceId, token })))
    }
    this.#remove(token)
    this.#unlist(lock)
    const duration = Lock.heldFor(lock)
    Lock.inContext(lock, () => {
      publish(channels.lost, () => ({ resourceId, token, reason: detail, duration }))
      Lock.lose(lock, detail)
    })
  }

  #hearEarly(event, token) {
    if (event === 'lost') this.#lostEarly.add(token)
    else this.#renewedEarly.set(token, (this.#renewedEarly.get(token) ?? 0) + 1)
  }

  #publishEarlyRenewals(resourceId, token) {
    const count = this.#renewedEarly.get(token) ?? 0
    for (let told = 0; told < count; told++) publish(channels.renew, () => ({ resourceId, token }))
    this.#forgetEarly(token)
  }

  #forgetEarly(token) {
    this.#lostEarly.delete(token)
    this.#renewedEarly.delete(token)
  }
}

/** Costs nothing while nobody has subscribed. */
function publish(channel, message) {
  if (channel.hasSubscribers) channel.publish(message())
}

async function unlessLocked(locking) {
  try {
    return await locking
  } catch (error) {
    if (error instanceof ResourceLockedError) return null
    throw error
  }
}

/** There may be several holders one day; a holder of which nothing is known is lock-inc 1.2.0. */
async function inspection(asking) {
  const found = await asking
  if (found === null) return null
  const { holder, leaseLeft, numberOfLocks = 0, waiters } = found
  const unknown = { clientId: null, host: null, pid: null, since: null, token: null }
  const mode = 'exclusive'
  return {
    holders: numberOfLocks > 0 ? [{ ...unknown, ...dated(holder), leaseLeft, mode }] : [],
    waiters: waiters.map((waiter) => ({ ...dated(waiter), mode })),
    count: numberOfLocks,
  }
}

module.exports = { Locker }
