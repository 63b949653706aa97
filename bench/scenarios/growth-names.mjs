import { label, OURS, peers } from '../contestants/index.mjs'
import { Child } from '../lib/child.mjs'
import { short } from '../lib/figures.mjs'
import { inTurns } from '../lib/rounds.mjs'
import { line, perRound, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'growth-names'
export const title = 'cost of a lock and unlock beside 100 to 1,000,000 held names'

const SMALLEST = 100
const LEASE = 3_600_000

/** Each contestant is compared with itself. Each size has a server and a process of its own; sizes take turns. */
export async function run({ rounds, quick, log }) {
  // It is not about speed, but about whether that changes: a few rounds show it.
  const turns = Math.min(rounds, 5)
  const result = { figures: {}, rounds: {}, failed: new Map(), rows: [] }
  for (const contestant of [OURS, ...peers]) {
    const largest = contestant === OURS ? (quick ? 4 : 6) : quick ? 3 : 5
    const sizes = Array.from({ length: largest - 1 }, (_, index) => SMALLEST * 10 ** index)
    try {
      const { measured } = await measure(contestant, sizes, { rounds: turns, quick, log })
      const costs = perRound(measured, ({ rate }) => 1e6 / rate)
      result.figures[`${label(contestant)}: us/cycle`] = spreads(costs)
      result.rounds[`${label(contestant)}: us/cycle`] = costs
      const ratios = costs[sizes.at(-1)].map((cost, round) => cost / costs[SMALLEST][round])
      const what = `cost beside ${short(sizes.at(-1))} names, ${label(contestant)}`
      // Flat: a tenth more is what rounds differ by anyway.
      const target = contestant === OURS ? { atMost: 1.1 } : {}
      result.rows.push(line(name, what, 'beside 100 names', ratios, target))
    } catch (error) {
      result.failed.set(contestant, error.message)
      log(`${label(contestant)}: ${error.message}`)
    }
  }
  return result
}

async function measure(contestant, sizes, { rounds, quick, log }) {
  const servers = []
  const children = new Map()
  try {
    for (const size of sizes) {
      const server = await Server.start()
      servers.push(server)
      const child = new Child(contestant, server.port)
      children.set(size, child)
      await child.call('holdMany', { count: size, lease: LEASE, renewed: false }, { deadline: 120_000 })
      await child.call('cycles', { inFlight: 1, ms: 300 })
    }
    log.progress(`${label(contestant)}: names are held`)
    const turn = (size) => children.get(size).call('cycles', { inFlight: 1, ms: quick ? 150 : 300 })
    const { measured, failed } = await inTurns(sizes, rounds, turn, log)
    if (failed.size > 0) throw new Error(Array.from(failed.values())[0])
    return { measured }
  } finally {
    for (const child of children.values()) child.kill()
    await Promise.all(servers.map((server) => server.stop()))
  }
}
