'use strict'

const { constants } = require('node:os')

/** Those of sysexits.h, where it has one: few commands that `run` may be given end with them. */
const EXIT = {
  done: 0,
  /** There was nothing to do, or something is found to be wrong: each command says what. */
  no: 1,
  usage: 64,
  unavailable: 69,
  internal: 70,
  output: 74,
  locked: 75,
  lost: 76,
  notExecutable: 126,
  notFound: 127,
}

/** What a shell makes of a process that a signal has ended. @param {NodeJS.Signals} signal */
const bySignal = (signal) => 128 + constants.signals[signal]

/** What the codes mean that every command may end with. */
const COMMON = {
  [EXIT.usage]: 'wrong arguments; nothing was done',
  [EXIT.unavailable]: 'Redis cannot be reached, or answers with an error',
  [EXIT.internal]: 'lock-inc itself has failed, or cannot be loaded',
}

module.exports = { COMMON, EXIT, bySignal }
