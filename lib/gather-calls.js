'use strict'

const native = require('./native')

let gathering = false

/**
 * Called after each call. The first one is sent at once, and begins a turn, which a microtask ends. What is called in that
 * turn is sent together, a few times while it lasts and at its end.
 */
function gatherCalls() {
  if (gathering) return
  gathering = true
  native.gather()
  finish()
}

/** At the end of the turn. `await`, and not `queueMicrotask`, which tests that fake timers fake as well. */
async function finish() {
  await undefined
  gathering = false
  native.finish()
}

module.exports = { gatherCalls }
