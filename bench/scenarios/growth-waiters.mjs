import { label, OURS, peers } from '../contestants/index.mjs'
import { startChildren } from '../lib/child.mjs'
import { contendTogether } from '../lib/contention.mjs'
import { ratios } from '../lib/figures.mjs'
import { inTurns } from '../lib/rounds.mjs'
import { line, perRound, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'growth-waiters'
export const title = '1 to 10,000 waiters of 4 processes on one name: acquisitions/s and wait p99'

const PROCESSES = 4
const PATIENCE = 10_000

export async function run({ rounds, quick, log }) {
  // Each size is compared with the others, all of them in each round; a few rounds show whether it grows.
  const turns = Math.min(rounds, 3)
  const sizes = quick ? [1, 10, 100] : [1, 10, 100, 1000]
  const oursToo = quick ? 1000 : 10_000
  const ms = quick ? 500 : 1000
  const result = { figures: {}, rounds: {}, failed: new Map(), rows: [] }
  const server = await Server.start()
  for (const contestant of [OURS, ...peers]) {
    const own = contestant === OURS ? [...sizes, oursToo] : sizes
    try {
      let children = []
      const turn = async (waiters) => {
        // Those that did not come to an end with too many waiters were killed.
        if (children.length === 0 || !children.every(({ alive }) => alive)) {
          for (const child of children) child.kill()
          children = await startChildren(contestant, server.port, PROCESSES)
        }
        // All of them must have been served once, before it counts.
        const lead = 300 + waiters / 5
        const contention = { name: `${waiters} waiters`, waiters, ms, lead, patience: PATIENCE }
        return contendTogether(children.slice(0, waiters), contention)
      }
      const { measured, failed } = await inTurns(own, turns, turn, log)
      for (const child of children) child.kill()
      for (const [waiters, why] of failed) result.failed.set(`${label(contestant)}, ${waiters} waiters`, why)
      keep(result, contestant, measured)
      if (contestant === OURS) result.rows.push(growth(measured, oursToo))
    } catch (error) {
      result.failed.set(contestant, error.message)
      log(`${label(contestant)}: ${error.message}`)
    }
  }
  await server.stop()
  return result
}

function keep(result, contestant, measured) {
  const kinds = { 'acquisitions/s': ({ rate }) => rate, 'wait p99, ms': ({ p99 }) => p99 }
  for (const [kind, pick] of Object.entries(kinds)) {
    const figures = perRound(measured, pick)
    result.figures[`${label(contestant)}: ${kind}`] = spreads(figures)
    result.rounds[`${label(contestant)}: ${kind}`] = figures
  }
}

/** Logarithmic growth: from 10 waiters to 10^n, the cost of an acquisition may become n times as large. */
function growth(measured, waiters) {
  const cost = perRound(measured, ({ rate }) => 1 / rate)
  const what = `cost with ${waiters.toLocaleString('en-US')} waiters`
  const grown = cost[waiters] && cost[10] ? ratios(cost[waiters], cost[10]) : []
  return line(name, what, 'with 10 waiters', grown, { atMost: Math.log10(waiters) })
}
