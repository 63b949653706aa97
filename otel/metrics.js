'use strict'

const names = require('./attributes')

const { errorType } = names

/** In seconds: a lock that is free takes less than a millisecond, one that is held may take minutes. */
const explicitBucketBoundaries = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900,
]

/** Times, counts, and what is so at the moment. The name of a resource is no attribute of any: there may be any number of them. */
function measure(meter) {
  const inSeconds = (description) => ({ description, unit: 's', advice: { explicitBucketBoundaries } })
  const acquireDuration = meter.createHistogram(
    'lock_inc.acquire.duration',
    inSeconds('How long calls take until they have locks, or are told that they get none'),
  )
  const holdDuration = meter.createHistogram(
    'lock_inc.hold.duration',
    inSeconds('How long locks are held, until they are unlocked or lost'),
  )
  const counter = (name, unit, description) => meter.createCounter(`lock_inc.${name}`, { unit, description })
  const grants = counter('grants', '{lock}', 'Locks that were granted')
  const refusals = counter('refusals', '{call}', 'Calls that gave up, as somebody else held the resource')
  const failures = counter('failures', '{call}', 'Calls that ended without a lock for any other reason')
  const losses = counter('losses', '{lock}', 'Locks that were lost while they were held')
  const renewals = counter('renewals', '{renewal}', 'Renewals of locks')
  const disconnections = counter(
    'disconnections',
    '{event}',
    'Connections lost, and tries to connect that failed',
  )
  const upDown = (name, unit, description) =>
    meter.createUpDownCounter(`lock_inc.${name}`, { unit, description })
  const held = upDown('held', '{lock}', 'Locks that are held')
  const waiting = upDown('waiting', '{call}', 'Calls that wait as somebody else holds the resource')

  /** With what they were counted, by the numbers of calls and of locks. */
  const waits = new Map()
  const locks = new Map()
  const modes = new Map()

  const ofPrefix = ({ prefix }) => ({ [names.PREFIX]: prefix })
  const ofCall = ({ prefix, mode }) => ({ [names.PREFIX]: prefix, [names.MODE]: mode })

  function endWait(call) {
    const attributes = waits.get(call)
    if (attributes && waits.delete(call)) waiting.add(-1, attributes)
    modes.delete(call)
  }

  /** Of a call once, also where it has asked for several locks. */
  function endCall(message, outcome, more) {
    if (!modes.has(message.call)) return
    endWait(message.call)
    acquireDuration.record(message.duration / 1000, { ...ofCall(message), [names.OUTCOME]: outcome, ...more })
  }

  /** `false` if it has ended before, or was granted before anybody measured. */
  function endLock({ lock, duration }, outcome, more) {
    const attributes = locks.get(lock)
    if (!attributes) return false
    locks.delete(lock)
    held.add(-1, attributes)
    holdDuration.record(duration / 1000, { ...attributes, [names.OUTCOME]: outcome, ...more })
    return true
  }

  const listeners = {
    ask({ call, mode }) {
      modes.set(call, mode)
    },

    wait(message) {
      const { call } = message
      if (!modes.has(call) || waits.has(call)) return
      const attributes = ofCall({ ...message, mode: modes.get(call) })
      waits.set(call, attributes)
      waiting.add(1, attributes)
    },

    acquire(message) {
      const attributes = ofCall(message)
      endCall(message, 'granted')
      locks.set(message.lock, attributes)
      grants.add(1, { ...attributes, [names.WAITED]: message.waited })
      held.add(1, attributes)
    },

    contended(message) {
      endCall(message, 'refused')
      refusals.add(1, ofCall(message))
    },

    fail(message) {
      const type = message.aborted ? 'aborted' : errorType(message.error)
      endCall(message, message.aborted ? 'aborted' : 'failed', { [names.ERROR_TYPE]: type })
      failures.add(1, { ...ofCall(message), [names.ERROR_TYPE]: type })
    },

    renew(message) {
      renewals.add(1, { ...ofPrefix(message), [names.OUTCOME]: 'renewed' })
    },

    'renew-failed'(message) {
      const failed = { [names.OUTCOME]: 'failed', [names.ERROR_TYPE]: errorType(message.error) }
      renewals.add(1, { ...ofPrefix(message), ...failed })
    },

    release(message) {
      if (message.error) endLock(message, 'failed', { [names.ERROR_TYPE]: errorType(message.error) })
      else if (message.held) endLock(message, 'released')
      // It was lost, and nobody has noticed before.
      else if (endLock(message, 'lost'))
        losses.add(1, { ...ofPrefix(message), [names.LOSS_REASON]: 'unnoticed' })
    },

    lost(message) {
      endLock(message, 'lost')
      losses.add(1, { ...ofPrefix(message), [names.LOSS_REASON]: message.reason })
    },

    disconnect(message) {
      const type = errorType(message.error.cause ?? message.error)
      disconnections.add(1, { ...ofPrefix(message), [names.ERROR_TYPE]: type })
    },
  }

  /** What is counted as there is taken back: nobody would do that later. */
  function end() {
    for (const attributes of locks.values()) held.add(-1, attributes)
    for (const attributes of waits.values()) waiting.add(-1, attributes)
    for (const map of [locks, waits, modes]) map.clear()
  }

  return { listeners, end }
}

module.exports = { measure }
