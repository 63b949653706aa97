import { BARE, OURS, peers } from '../contestants/index.mjs'
import { scriptFloor } from '../lib/redis-benchmark.mjs'
import { inTurns, withChildren } from '../lib/rounds.mjs'
import { against, best, perRound, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'concurrent'
export const title = '64 and 1024 in flight on distinct names, cycles/s and CPU'

const FLOOR = 'redis-benchmark'

export async function run({ rounds, quick, log }) {
  const result = { figures: {}, rounds: {}, failed: new Map(), rows: [] }
  const names = [OURS, ...peers, BARE]
  const floor = await Server.start()
  await withChildren(names, async (_server, children) => {
    for (const inFlight of [64, 1024]) {
      await measure(inFlight, names, { rounds, quick, log, floor, children, result })
    }
  })
  await floor.stop()
  return result
}

async function measure(inFlight, names, { rounds, quick, log, floor, children, result }) {
  const cycles = (name, ms) => children.get(name).call('cycles', { inFlight, ms })
  const warmUp = await inTurns(names, 1, (name) => cycles(name, 300), log)
  const able = names.filter((name) => !warmUp.failed.has(name))
  const { measured, failed } = await inTurns(
    [...able, FLOOR],
    rounds,
    (name) =>
      name === FLOOR
        ? scriptFloor(floor, { inFlight, requests: quick ? 10_000 : 20_000 })
        : cycles(name, quick ? 200 : 500),
    log,
  )
  for (const [name, why] of [...warmUp.failed, ...failed]) result.failed.set(name, why)

  const rates = perRound(measured, ({ rate }) => rate)
  measured.delete(FLOOR)
  const whole = perRound(measured, ({ processUs, cycles }) => processUs / cycles)
  const thread = perRound(measured, ({ threadUs, cycles }) => threadUs / cycles)
  const kinds = {
    'cycles/s': rates,
    'CPU of the process, us/cycle': whole,
    'CPU of the JS thread, us/cycle': thread,
  }
  for (const [kind, figures] of Object.entries(kinds)) {
    result.figures[`${inFlight} in flight: ${kind}`] = spreads(figures)
    result.rounds[`${inFlight} in flight: ${kind}`] = figures
  }
  const row = (measure, ...rest) => against(name, `${inFlight} in flight: ${measure}`, ...rest)
  const fastest = best(rates, peers, { most: true })
  result.rows.push(
    row('cycles/s', rates, OURS, fastest, { atLeast: 1.5 }),
    row('cycles/s', rates, OURS, FLOOR, { atLeast: 0.5 }),
    row('CPU of the JS thread', thread, OURS, best(thread, peers), { atMost: 0.5 }),
    row('CPU of the process', whole, OURS, best(whole, peers)),
  )
}
