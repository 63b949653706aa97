'use strict'

const { isError } = require('../server')
const { Unseen } = require('../unseen')
const { milliseconds } = require('../words')

/** What a few take says how many are affordable in so many milliseconds. */
const FEW = 10
const PATIENCE = 1500
const MOST = 500

/** In milliseconds. A connection is taken for dead, perhaps, when it has said nothing for half a second. */
const FAR = 10
const LONG = 250

/** How long a question takes, and how long at the worst. */
const subject = {
  name: 'speed',
  findings: {
    near: { level: 'ok' },
    far: {
      level: 'note',
      means: 'Each lock and each unlock takes so long at the least, and a hand-over as well.',
      todo: 'A server that is nearer, if that is too long.',
    },
    uneven: {
      level: 'warning',
      means:
        'Calls and hand-overs wait for so long now and then. Leases and commandTimeout have to be far longer than the longest pause.',
      todo: 'See what holds the server up (SLOWLOG GET, LATENCY DOCTOR: slow commands, forks, swapping), and the network.',
    },
  },

  /** @param {import('../server').Server} server @param {any} tell */
  async examine(server, tell) {
    const first = await times(server, FEW)
    const number = Math.min(MOST, Math.floor(PATIENCE / median(first)))
    const all = number > FEW ? await times(server, number) : first
    const [middle, tail, longest] = [median(all), quantile(all, 0.99), Math.max(...all)]
    const found = `A round trip takes ${milliseconds(middle)} (p99 ${milliseconds(tail)}, longest ${milliseconds(longest)}, of ${all.length})`
    tell(middle > FAR ? 'far' : 'near', found)
    if (longest > LONG)
      tell('uneven', `The longest round trip of ${all.length} took ${milliseconds(longest)}`)
  },
}

/** Of a command that every locker may run. @param {import('../server').Server} server @param {number} number */
async function times(server, number) {
  const { answers } = await server.ask(Array.from({ length: number }, () => ['TIME']))
  const refused = /** @type {any} */ (answers.find(({ answer }) => isError(answer))?.answer)
  if (refused) throw new Unseen('TIME', refused)
  return answers.map(({ took }) => took)
}

/** @param {number[]} numbers */
const median = (numbers) => quantile(numbers, 0.5)

/** @param {number[]} numbers @param {number} part */
function quantile(numbers, part) {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
}

module.exports = subject
