'use strict'

const { Call } = require('./call')
const { callSite, locate } = require('./call-site')
const { Context } = require('./context')
const { topics } = require('./diagnostics')
const { ResourceLockedError, dated, grantedTooLate, toError } = require('./errors')
const { Lock } = require('./lock')
const { LockSet } = require('./lock-set')
const { wrongType } = require('./options/argument-errors')
const { readExtend, readLock } = require('./options/lock')
const { checkResource, checkResources } = require('./options/resource')
const { Newest } = require('./newest')
const { request } = require('./request')
const { Cancellation } = require('./cancellation')
const { gatherCalls } = require('./gather-calls')

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
  /** That of the call of `lockFactory`. */
  #context = new Context()
  #prefix
  /** The longest that a call may take, in milliseconds. */
  #commandTimeout
  /** Calls of which is to be told when they wait, by their numbers. */
  #watched = new Map()
  /** Locks that are neither unlocked nor lost, by their nonces. */
  #held = new Map()
  /** Of those that nobody has begun to unlock. */
  #newest = new Newest()
  /** How many grants are awaited; and how often renewals of such locks were told before, by their nonces. */
  #awaited = 0
  #renewedEarly = new Map()

  /** What a lock needs of its locker. */
  #handle = {
    unlock: (lock, nonce) => this.#unlock(lock, nonce),
    remaining: (nonce) => this.#native.remaining(nonce),
    extend: (lock, nonce, seconds) => this.#extend(lock, nonce, readExtend(seconds)),
  }

  /** `make`: makes the native locker, given who is to hear of its events. */
  constructor(make, { prefix, commandTimeout }) {
    this.#prefix = prefix
    this.#commandTimeout = commandTimeout
    this.#native = make((event, number, detail) => this.#hear(event, number, detail))
  }

  lock = (resourceId, options) => {
    checkResources(resourceId)
    return this.#lock(resourceId, readLock(options), this.lock)
  }

  tryLock = (resourceId, options) => unlessLocked(this.lock(resourceId, options))

  unlock = (lockOrResourceId) => {
    if (Lock.isOf(lockOrResourceId, this.#handle)) return lockOrResourceId.unlock()
    const isOwn = (lock) => Lock.isOf(lock, this.#handle)
    if (LockSet.isOf(lockOrResourceId, isOwn)) return lockOrResourceId.unlock()
    if (lockOrResourceId instanceof Lock || lockOrResourceId instanceof LockSet)
      throw new TypeError('The lock was taken by another locker')
    const newest = typeof lockOrResourceId === 'string' ? this.#newest.of(lockOrResourceId) : undefined
    return newest ? newest.unlock() : this.#callAbout('unlockLost', lockOrResourceId, this.unlock)
  }

  request = (...args) => request((resourceId, options) => this.#request(resourceId, options), ...args)

  isLocked = (resourceId) => this.#callAbout('isLocked', resourceId)

  inspect = (resourceId) => inspection(this.#callAbout('inspect', resourceId))

  query = () => snapshot(this.#call('query', []))

  forceUnlock = (resourceId) => this.#callAbout('forceUnlock', resourceId)

  purge = () => this.#call('purge', [])

  close = () => this.#call('close', [])

  /** `named`: a resource, or several. `options`: read, by `readLock` or `readRequest`. `called`: by the user. */
  #lock(named, options, called) {
    const site = callSite(called)
    const several = Array.isArray(named)
    const resources = several ? distinct(named, options) : named
    const { expire, retryInterval, renew, maxHold, maxBlocked, signal, steal } = options
    const limit = options.mode === 'shared' ? options.limit : -1
    // Before anything is sent: the signal is somebody else's object, and may throw.
    const cancellation = signal && new Cancellation(this.#native, signal)
    const call = new Call(this.#prefix, resources, options)
    if (call.isWatched) this.#watched.set(call.number, call)
    const attempt = (wait, steals = false) => {
      const granting = this.#native[several ? 'lockAll' : 'lock'](
        resources,
        expire,
        wait,
        retryInterval,
        renew,
        maxHold,
        maxBlocked,
        call.isWatched ? call.number : 0,
        limit,
        steals,
        cancellation?.number ?? 0,
      )
      gatherCalls()
      return granting
    }
    return this.#grant(attempt(options.wait, steal), attempt, call, resources, options, cancellation, site)
  }

  /** A lock for `request`; `null` where somebody else holds it and the request does not wait. */
  #request(named, options) {
    checkResources(named)
    const locking = this.#lock(named, options, this.request)
    return options.ifAvailable ? unlessLocked(locking) : locking
  }

  /** Calls a method that is about one resource, of which only the name has to be checked. */
  #callAbout(method, resourceId, called = this[method]) {
    checkResource(resourceId)
    return this.#call(method, [resourceId], resourceId, called)
  }

  /** Calls a native method. `called`: by the user. */
  #call(method, args, resourceId, called = this[method]) {
    const site = callSite(called)
    const promise = this.#native[method](...args)
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

  /**
   * `attempt`: asks once more, given how long to wait, and steals from nobody then. `resources`: a name, or an array.
   */
  async #grant(granting, attempt, call, resources, { wait, signal }, cancellation, site) {
    const several = Array.isArray(resources)
    this.#awaited++
    let lock
    try {
      let granted = await granting
      // This thread may hear of it late, when it is lost already.
      while (!this.#isHeld(granted)) {
        for (let index = 0; index < granted.length; index += 2) this.#giveBack(granted[index])
        granted = await attempt(this.#timeLeft(wait, call.duration, several ? resources[0] : resources))
      }
      lock = several
        ? new LockSet(resources.map((name, index) => this.#enter(name, granted, 2 * index, call)))
        : this.#enter(resources, granted, 0, call)
    } catch (failure) {
      const error = locate(toError(failure, resources, call.duration), site)
      const aborted = signal?.aborted === true && error?.code === 'ERR_CANCELLED'
      const reason = aborted ? signal.reason : error
      call.onFailure(reason, aborted)
      throw reason
    } finally {
      cancellation?.end()
      if (call.isWatched) this.#watched.delete(call.number)
      if (--this.#awaited === 0) this.#renewedEarly.clear()
    }
    if (!signal?.aborted) return lock
    // The grant has crossed the cancel. If giving it back fails, that goes on in the background.
    lock.unlock().catch(() => {})
    throw signal.reason
  }

  /** Whether all that was granted can be relied on: nonce and token of each, one behind the other. */
  #isHeld(granted) {
    for (let index = 0; index < granted.length; index += 2) {
      if (this.#native.remaining(granted[index]) === 0) return false
    }
    return true
  }

  /** A lock that nobody has got. If that fails, it goes on in the background. */
  #giveBack(nonce) {
    // Nobody asks any more what was heard of it meanwhile.
    const forget = () => this.#renewedEarly.delete(nonce)
    this.#native.unlock(nonce).then(forget, forget)
  }

  /** For how long an attempt may wait that follows others, which have taken some time. */
  #timeLeft(wait, taken, resourceId) {
    if (taken >= (wait || this.#commandTimeout)) throw grantedTooLate(resourceId)
    return wait && wait - taken
  }

  async #unlock(lock, nonce) {
    const site = callSite(lock.unlock)
    this.#newest.remove(lock)
    const tell = (held, error) =>
      topics.release.publish(() => ({ ...this.#about(lock), held, error, duration: Lock.heldFor(lock) }))
    try {
      const releasing = this.#native.unlock(nonce)
      gatherCalls()
      const held = await releasing
      tell(held)
      return held
    } catch (failure) {
      const error = locate(toError(failure, lock.resourceId), site)
      tell(undefined, error)
      throw error
    } finally {
      // Only now: until then it may be told that the lock was lost before.
      this.#remove(nonce)
    }
  }

  /** `extend` is a method of the lock alone. */
  #extend(lock, nonce, lease) {
    const extending = this.#call('extend', [nonce, lease], lock.resourceId, Lock.prototype.extend)
    return topics.extend.isHeard ? this.#tellExtension(lock, lease, extending) : extending
  }

  async #tellExtension(lock, lease, extending) {
    const tell = (extended, error) =>
      topics.extend.publish(() => ({ ...this.#about(lock), lease, extended, error }))
    try {
      const extended = await extending
      tell(extended)
      return extended
    } catch (error) {
      tell(undefined, error)
      throw error
    }
  }

  /** A lock that was granted to a call: nonce and token are at this place. */
  #enter(resourceId, granted, place, call) {
    const [nonce, token] = [granted[place], granted[place + 1]]
    const lock = new Lock(resourceId, nonce, token, this.#handle)
    this.#held.set(nonce, lock)
    this.#newest.add(lock)
    holding.add(this)
    call.onGrant(() => this.#about(lock))
    this.#publishEarlyRenewals(lock, nonce)
    return lock
  }

  #remove(nonce) {
    this.#held.delete(nonce)
    if (this.#held.size === 0) holding.delete(this)
  }

  /** What each message about a lock says. */
  #about(lock) {
    const { resourceId, token } = lock
    return { lock: Lock.numberOf(lock), prefix: this.#prefix, resourceId, token }
  }

  /** `number`: of a call that waits, or the nonce of a lock; `null` where it is about the connection. */
  #hear(event, number, detail) {
    if (number === null) return this.#hearOfConnection(event, detail)
    if (event === 'wait') return this.#watched.get(number)?.onWait(detail)
    this.#hearOfLock(event, number, detail)
  }

  #hearOfConnection(event, detail) {
    const about = () => ({ prefix: this.#prefix, locker: this })
    this.#context.runInAsyncScope(() => {
      if (event === 'reconnect') return topics.reconnect.publish(about)
      topics.disconnect.publish(() => ({ ...about(), error: toError(detail) }))
    })
  }

  #hearOfLock(event, nonce, detail) {
    const lock = this.#held.get(nonce)
    if (lock === undefined) {
      // Unlocked meanwhile, or its grant is still on the way: whoever gets that asks whether the lock is still held.
      if (event === 'renew' && this.#awaited > 0) {
        this.#renewedEarly.set(nonce, (this.#renewedEarly.get(nonce) ?? 0) + 1)
      }
      return
    }
    const about = () => this.#about(lock)
    if (event === 'renew') return Lock.inContext(lock, () => topics.renew.publish(about))
    if (event === 'renewFailed') {
      const error = toError(detail, lock.resourceId)
      return Lock.inContext(lock, () => topics.renewFailed.publish(() => ({ ...about(), error })))
    }
    this.#remove(nonce)
    this.#newest.remove(lock)
    const duration = Lock.heldFor(lock)
    Lock.inContext(lock, () => {
      topics.lost.publish(() => ({ ...about(), reason: detail, duration }))
      Lock.lose(lock, detail)
    })
  }

  #publishEarlyRenewals(lock, nonce) {
    const count = this.#renewedEarly.get(nonce) ?? 0
    for (let told = 0; told < count; told++) topics.renew.publish(() => this.#about(lock))
    this.#renewedEarly.delete(nonce)
  }
}

/** The names of several resources, each of them once. */
function distinct(names, options) {
  if (options.steal) throw wrongType('options.steal is for one resource at a time')
  // What is no Unicode has one replacement in the store, whatever it was.
  return [...new Set(names.map((name) => name.toWellFormed()))]
}

async function unlessLocked(locking) {
  try {
    return await locking
  } catch (error) {
    if (error instanceof ResourceLockedError) return null
    throw error
  }
}

const UNKNOWN = { clientId: null, host: null, pid: null, since: null, token: null }

/** A holder of which nothing is known has gone just now, or its locker's entry has. */
async function snapshot(asking) {
  const { held, pending } = await asking
  return {
    held: held.map(({ holder, ...lock }) => ({ ...UNKNOWN, ...dated(holder), ...lock })),
    pending: pending.map(dated),
  }
}

/** Those who have had the lock for longest first. A holder of which nothing is known is lock-inc 1.2.0. */
async function inspection(asking) {
  const found = await asking
  if (found === null) return null
  const holders = found.holders.map(({ holder, leaseLeft, mode }) => ({
    ...UNKNOWN,
    ...dated(holder),
    leaseLeft,
    mode,
  }))
  return {
    holders: holders.sort((a, b) => (a.token ?? Infinity) - (b.token ?? Infinity) || 0),
    waiters: found.waiters.map(dated),
    count: found.numberOfLocks,
  }
}

module.exports = { Locker }
