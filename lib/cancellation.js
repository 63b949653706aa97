'use strict'

/** The calls that wait for each signal. One listener serves all: Node.js warns of a signal that has many. */
const waitingFor = new WeakMap()

let cancellations = 0

/** The end of a call by its signal: when that aborts, or at once if it has. */
class Cancellation {
  /** What the native locker knows it by. No other one of this thread has it. */
  number = ++cancellations
  #native
  #signal

  /** Throws what the signal throws, and leaves nothing behind then. */
  constructor(native, signal) {
    this.#native = native
    this.#signal = signal
    const { aborted } = signal
    this.#listen()
    if (aborted) this.#cancel()
  }

  /** The call has ended. */
  end() {
    this.#native.forget(this.number)
    const { all, abort } = waitingFor.get(this.#signal)
    all.delete(this)
    if (all.size > 0) return
    try {
      this.#signal.removeEventListener('abort', abort)
    } catch {
      // A signal that throws must not cost anybody the lock. Its listener cancels nothing any more.
    }
  }

  #cancel() {
    this.#native.cancel(this.number)
  }

  #listen() {
    let waiting = waitingFor.get(this.#signal)
    if (waiting === undefined) {
      const all = new Set()
      const abort = () => {
        for (const cancellation of all) cancellation.#cancel()
      }
      waiting = { all, abort }
      waitingFor.set(this.#signal, waiting)
    }
    if (waiting.all.size === 0) this.#signal.addEventListener('abort', waiting.abort, { once: true })
    waiting.all.add(this)
  }
}

module.exports = { Cancellation }
