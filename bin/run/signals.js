'use strict'

const { constants } = require('node:os')

/** What ends a process, if it does not say otherwise, and may be meant for the command. @type {NodeJS.Signals[]} */
const PASSED_ON = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2']

/** From now on such a signal does not end this process, but goes to the listener. @param {(signal: NodeJS.Signals) => void} listener */
function onSignal(listener) {
  for (const signal of PASSED_ON) {
    // Windows has only some of them.
    if (signal in constants.signals) process.on(signal, listener)
  }
}

module.exports = { onSignal }
