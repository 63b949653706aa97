'use strict'

const names = require('./attributes')

const { errorType } = names

/**
 * A span for each call that asks for locks, and one for each lock from grant to end, which links to that. Both have the span for a
 * parent in which the call was made.
 */
function trace({ SpanStatusCode, SpanKind, context }, tracer, resourceNames) {
  /** By the numbers of calls and of locks. */
  const calls = new Map()
  const locks = new Map()
  /** The call that was granted locks last, and its span: of several locks, one comes behind the other. */
  let granted

  const resources = (resourceIds) => (resourceNames ? { [names.RESOURCE]: resourceIds } : {})

  function endCall(call, attributes, failure) {
    const span = calls.get(call)
    calls.delete(call)
    span?.setAttributes(attributes)
    finish(span, failure)
  }

  function endLock(lock, failure) {
    const span = locks.get(lock)
    locks.delete(lock)
    finish(span, failure)
  }

  /** `failure`: `{ type, message }`. */
  function finish(span, failure) {
    if (failure) {
      span?.setAttribute(names.ERROR_TYPE, failure.type)
      span?.setStatus({ code: SpanStatusCode.ERROR, message: failure.message })
    }
    span?.end()
  }

  const failureOf = (error) => ({ type: errorType(error), message: error?.message ?? String(error) })

  const contention = ({ holder, leaseLeft, position }) => ({
    ...(holder && { [names.HOLDER_HOST]: holder.host, [names.HOLDER_PID]: holder.pid }),
    ...(position !== null && { [names.POSITION]: position }),
    [names.LEASE_LEFT]: leaseLeft / 1000,
  })

  const listeners = {
    ask({ call, prefix, resourceIds, mode }) {
      const attributes = { [names.PREFIX]: prefix, [names.MODE]: mode, ...resources(resourceIds) }
      const span = tracer.startSpan('lock acquire', { kind: SpanKind.INTERNAL, attributes }, context.active())
      calls.set(call, span)
    },

    wait({ call, resourceId, ...message }) {
      calls.get(call)?.addEvent('waiting', { ...resources([resourceId]), ...contention(message) })
    },

    acquire({ call, lock, prefix, resourceId, token, mode, waited }) {
      const isFirst = calls.has(call)
      if (isFirst) granted = { call, span: calls.get(call) }
      const attributes = {
        [names.PREFIX]: prefix,
        [names.MODE]: mode,
        [names.TOKEN]: token,
        ...resources([resourceId]),
      }
      const links = granted?.call === call ? [{ context: granted.span.spanContext() }] : []
      locks.set(
        lock,
        tracer.startSpan('lock hold', { kind: SpanKind.INTERNAL, attributes, links }, context.active()),
      )
      if (isFirst) endCall(call, { [names.OUTCOME]: 'granted', [names.WAITED]: waited })
    },

    contended({ call, ...message }) {
      const outcome = { [names.OUTCOME]: 'refused', ...contention(message) }
      endCall(call, outcome, { type: 'ERR_RESOURCE_LOCKED', message: 'Resource locked' })
    },

    fail({ call, error, aborted }) {
      const outcome = { [names.OUTCOME]: aborted ? 'aborted' : 'failed' }
      endCall(call, outcome, failureOf(error))
    },

    'renew-failed'({ lock, error }) {
      locks.get(lock)?.addEvent('renewal failed', { [names.ERROR_TYPE]: errorType(error) })
    },

    extend({ lock, lease, extended }) {
      locks
        .get(lock)
        ?.addEvent(extended ? 'extended' : 'extension failed', { 'lock_inc.lease': lease / 1000 })
    },

    release({ lock, held, error }) {
      if (error) endLock(lock, failureOf(error))
      else if (held) endLock(lock)
      else endLock(lock, { type: 'ERR_LOCK_LOST', message: 'The lock was not held any more' })
    },

    lost({ lock, reason }) {
      locks.get(lock)?.setAttribute(names.LOSS_REASON, reason)
      endLock(lock, { type: 'ERR_LOCK_LOST', message: `The lock was lost: ${reason}` })
    },
  }

  /** What is open ends now: nobody would end it later. */
  function end() {
    for (const span of [...calls.values(), ...locks.values()]) span.end()
    calls.clear()
    locks.clear()
    granted = undefined
  }

  return { listeners, end }
}

module.exports = { trace }
