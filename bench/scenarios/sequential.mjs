import { BARE, builds, OURS, peers } from '../contestants/index.mjs'
import { scriptFloor } from '../lib/redis-benchmark.mjs'
import { inTurns, withChildren } from '../lib/rounds.mjs'
import { against, beside, best, perRound, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'sequential'
export const title = 'lock and unlock, one after the other, cycles/s'

const FLOOR = 'redis-benchmark'

export async function run({ rounds, quick, log }) {
  const ms = quick ? 200 : 600
  const names = [...builds, ...peers, BARE]
  const floor = await Server.start()
  const { measured, failed } = await withChildren(names, async (_server, children) => {
    const cycle = (name, ms) => children.get(name).call('cycles', { inFlight: 1, ms })
    const warmUp = await inTurns(names, 1, (name) => cycle(name, 300), log)
    const able = names.filter((name) => !warmUp.failed.has(name))
    const turns = await inTurns(
      [...able, FLOOR],
      rounds,
      (name) =>
        name === FLOOR
          ? scriptFloor(floor, { inFlight: 1, requests: quick ? 2000 : 10_000 })
          : cycle(name, ms),
      log,
    )
    return { ...turns, failed: new Map([...warmUp.failed, ...turns.failed]) }
  })
  await floor.stop()

  const rates = perRound(measured, ({ rate }) => rate)
  const fastest = best(rates, peers, { most: true })
  return {
    figures: { 'cycles/s': spreads(rates) },
    rounds: { 'cycles/s': rates },
    failed,
    rows: [
      against(name, 'cycles/s', rates, OURS, fastest, { atLeast: 1 }),
      against(name, 'cycles/s', rates, OURS, FLOOR, { atLeast: 0.8 }),
      against(name, 'cycles/s', rates, OURS, BARE),
      ...beside(name, 'cycles/s', rates),
    ],
  }
}
