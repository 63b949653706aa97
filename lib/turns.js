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
  queueMicrotask(finish)
}

function finish() {
  gathering = false
  native.finish()
}

module.exports = { gatherCalls }
