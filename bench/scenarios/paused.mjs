import { BARE, OURS, peers } from '../contestants/index.mjs'
import { median } from '../lib/figures.mjs'
import { inTurns, withChildren } from '../lib/rounds.mjs'
import { against, best, perRound, spreads } from '../lib/rows.mjs'

export const name = 'paused'
export const title = 'unlock, and lock again, after a pause in which nothing happens, ms'

/** How long each time, in ms. */
const PAUSES = [1, 5, 20]

export async function run({ rounds, quick, log }) {
  const names = [OURS, ...peers, BARE]
  const result = { figures: {}, rounds: {}, failed: new Map(), rows: [] }
  await withChildren(names, async (_server, children) => {
    for (const pause of PAUSES) {
      const times = quick ? 10 : 40
      const turn = (name) => children.get(name).call('pauses', { pause, times })
      await inTurns(names, 1, turn, log)
      const { measured, failed } = await inTurns(names, rounds, turn, log)
      for (const [name, why] of failed) result.failed.set(name, why)
      report(`${pause} ms`, measured, result)
    }
  })
  return result
}

function report(pause, measured, result) {
  for (const step of ['unlock', 'lock']) {
    const times = perRound(measured, (found) => median(found[step]))
    result.figures[`after ${pause}: ${step}, ms`] = spreads(times)
    result.rounds[`after ${pause}: ${step}, ms`] = times
  }
  const both = perRound(measured, ({ unlock, lock }) => median(unlock) + median(lock))
  result.rows.push(
    against(name, `after ${pause}: unlock and lock`, both, OURS, best(both, peers)),
    against(name, `after ${pause}: unlock and lock`, both, OURS, BARE),
  )
}
