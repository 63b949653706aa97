'use strict'

/** What is to be cancelled with each signal. One listener serves all: Node.js warns of a signal that has many. */
const cancellations = new WeakMap()

/** Cancels when the signal aborts, or at once if it has. Returns a function that forgets about it. */
function onAbort(signal, cancellation) {
  if (signal.aborted) cancellation.cancel()
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
    if (waiting.all.size > 0) return
    try {
      signal.removeEventListener('abort', waiting.abort)
    } catch {
      // A signal that throws must not cost anybody the lock. Its listener cancels nothing any more.
    }
  }
}

module.exports = { onAbort }
