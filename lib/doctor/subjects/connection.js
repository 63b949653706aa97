'use strict'

/** Told of whatever is asked: nothing is asked for its sake. @type {import('.').Subject} */
const subject = {
  name: 'connection',
  findings: {
    none: {
      level: 'problem',
      means:
        'No lock can be taken while it is so. Calls wait for a connection until their deadlines, or reject at once where waiting is of no use.',
      todo: 'See to it that Redis runs there, can be reached from here, and accepts the credentials: the message names the option.',
    },
    lost: {
      level: 'problem',
      means: 'Its locks can be neither taken nor given up while it does not answer.',
      todo: 'Look into its log, and at what keeps it busy: a slow script, swapping, a disk. Then ask again.',
    },
  },
}

module.exports = subject
