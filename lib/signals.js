'use strict'

/** The AbortSignal among the options of a call. */
function signalOf(options) {
  const signal = options?.signal ?? undefined
  if (signal === undefined) return undefined
  if (typeof signal.aborted === 'boolean' && typeof signal.addEventListener === 'function') return signal
  throw Object.assign(new TypeError('options.signal must be an AbortSignal'), {
    code: 'ERR_INVALID_ARG_TYPE',
  })
}

/** What is to be cancelled with each signal. One listener serves all: Node.js warns of a signal that has many. */
const cancellations = new WeakMap()

/** Cancels when the signal aborts. Returns a function that forgets about it. */
function onAbort(signal, cancellation) {
  let waiting = cancellations.get(signal)
  if (waiting === undefined) {
    const all = new Set()
    const abort = () => {
      for (const cancellation of all) cancellation.cancel()
    }
    waiting = { all, abort }
    cancellations.set(signal, waiting)
  }
  if (waiting.all.size === 0) signal.addEventListener('abort', waiting.abort, { once: true })
  waiting.all.add(cancellation)
  return () => {
    waiting.all.delete(cancellation)
    if (waiting.all.size === 0) signal.removeEventListener('abort', waiting.abort)
  }
}

module.exports = { onAbort, signalOf }
