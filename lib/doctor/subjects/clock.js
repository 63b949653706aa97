'use strict'

const { isError } = require('../server')
const { Unseen } = require('../unseen')

/** The best of so many is told. */
const TRIALS = 10

/** In milliseconds. */
const OFF = 1000

/** The server's clock beside that of this machine. */
const subject = {
  name: 'clock',
  findings: {
    same: { level: 'ok' },
    off: {
      level: 'warning',
      means:
        'Leases do not depend on it. But `since` in errors and listings is by the clock of the server, and tokens go by it: behind a failover to a server whose clock is behind, they go up by one until it has caught up.',
      todo: 'NTP on both machines, which slews the clock and does not step it: a step ends leases early or late.',
    },
  },

  /** @param {import('../server').Server} server @param {any} tell */
  async examine(server, tell) {
    const { answers } = await server.ask(Array.from({ length: TRIALS }, () => ['TIME']))
    const [best] = answers.sort((a, b) => a.took - b.took)
    const time = /** @type {any} */ (best?.answer)
    if (!best || isError(time)) throw new Unseen('TIME', time)
    // Half way there and back.
    const [seconds, microseconds] = time.map(Number)
    const ahead = seconds * 1000 + microseconds / 1000 - (best.at - best.took / 2)
    const off = Math.max(0, Math.abs(ahead) - best.took / 2)
    if (off < OFF) return tell('same', `Its clock and ours differ by ${Math.round(off)} ms`)
    tell('off', `Its clock is ${(off / 1000).toFixed(1)} s ${ahead > 0 ? 'ahead of' : 'behind'} ours`)
  },
}

module.exports = subject
