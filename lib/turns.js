'use strict'

const native = require('./native')

let gathering = false

/**
 * Called after each call: the first one in a turn of the event loop is sent at once. What follows in the same turn is sent
 * together, a few times while the turn lasts and at its end.
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
