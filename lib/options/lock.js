'use strict'

const { checkTime } = require('./checks')
const { readOptions } = require('./read')
const { wrongType } = require('./argument-errors')
const { defaultOf, extend, lock: table, MAX_SECONDS } = require('./table')

const EXPIRE = defaultOf(table, 'expire')
const RETRY_INTERVAL = defaultOf(table, 'retryInterval')
const MAX_RETRY_ATTEMPTS = defaultOf(table, 'maxRetryAttempts')

/** How one lock is to be taken. Times are in milliseconds. */
class LockOptions {
  /** The lease. */
  expire = EXPIRE
  /** How long to wait: 0 is one attempt. `Infinity`: without an end. */
  wait = 0
  retryInterval = RETRY_INTERVAL
  renew = false
  /** 0: no limit. */
  maxHold = 0
  /** 0: no limit. */
  maxBlocked = 0
  mode = defaultOf(table, 'mode')
  /** How many may share the lock; 0: any number. */
  limit = 0
  /** Whether it is taken from whoever holds it. */
  steal = false
  /** @type {AbortSignal | undefined} */
  signal = undefined

  // Of these, `wait` is made.
  retry = false
  /** @type {number | undefined} */
  maxRetryAttempts = undefined
  /** @type {number | undefined} */
  timeout = undefined
}

const DEFAULTS = new LockOptions()

/**
 * The options of `lock` and `tryLock`.
 *
 * @param {unknown} given
 */
function readLock(given) {
  if (given === undefined || given === null) return DEFAULTS
  const read = readOptions(table, given, new LockOptions())
  if (!read.renew) {
    if (read.maxHold !== 0) throw needsRenew('maxHold')
    if (read.maxBlocked !== 0) throw needsRenew('maxBlocked')
  }
  checkMode(read)
  if (read.steal && (read.retry || read.timeout !== undefined)) {
    throw wrongType('options.steal does not wait: it does not go with options.retry and options.timeout')
  }
  if (read.timeout !== undefined && read.maxRetryAttempts !== undefined) {
    throw wrongType('options.timeout does not go with options.maxRetryAttempts: both say how long to wait')
  }
  if (read.timeout !== undefined) read.wait = waitOf(read.timeout)
  else if (read.retry) {
    // As long as so many attempts would take; an interval of 0 is a millisecond, as with a JavaScript timer.
    const { maxRetryAttempts = MAX_RETRY_ATTEMPTS, retryInterval } = read
    read.wait = waitOf(maxRetryAttempts * Math.max(retryInterval, 1))
  }
  return read
}

/** @param {LockOptions} read */
function checkMode({ mode, limit, steal }) {
  if (mode === 'shared') {
    if (steal)
      throw wrongType("options.steal takes the lock for itself: it does not go with options.mode 'shared'")
  } else if (limit !== 0) {
    throw wrongType("options.limit is about those who share a lock: it needs options.mode 'shared'")
  }
}

/**
 * 30 years are for ever.
 *
 * @param {number} ms
 */
function waitOf(ms) {
  return ms > MAX_SECONDS * 1000 ? Number.POSITIVE_INFINITY : ms
}

/** @param {string} name */
function needsRenew(name) {
  return wrongType(`options.${name} is about renewal: it needs options.renew`)
}

/**
 * The argument of `lock.extend`, in milliseconds.
 *
 * @param {unknown} given
 */
function readExtend(given) {
  return checkTime(extend, given)
}

module.exports = { LockOptions, checkMode, readExtend, readLock, waitOf }
