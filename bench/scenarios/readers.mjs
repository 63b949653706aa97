import { OURS } from '../contestants/index.mjs'
import { OUR_READER } from '../contestants/modes.mjs'
import { inTurns, withChildren } from '../lib/rounds.mjs'
import { against, perRound, spreads } from '../lib/rows.mjs'

export const name = 'readers'
export const title = 'shared locks that do not contend, beside exclusive ones on distinct names'

const IN_FLIGHT = [1, 16, 64]
const TARGET = { atMost: 1.5 }

/** How many names the readers have: as many as there are of them, or one for all. */
const TURNS = { [OURS]: [OURS], distinct: [OUR_READER], 'one name': [OUR_READER, 1] }

export async function run({ rounds, quick, log }) {
  const result = { figures: {}, rounds: {}, failed: new Map(), rows: [] }
  await withChildren([OURS, OUR_READER], async (server, children) => {
    for (const inFlight of IN_FLIGHT) {
      const cycles = async (turn, ms) => {
        const [contestant, names = inFlight] = TURNS[turn]
        const before = await server.cpu()
        const found = await children.get(contestant).call('cycles', { inFlight, names, ms })
        return { ...found, serverUs: (await server.cpu()) - before }
      }
      const turns = Object.keys(TURNS)
      await inTurns(turns, 1, (turn) => cycles(turn, 300), log)
      const { measured, failed } = await inTurns(
        turns,
        rounds,
        (turn) => cycles(turn, quick ? 200 : 500),
        log,
      )
      for (const [turn, why] of failed) result.failed.set(turn, why)
      tell(result, `${inFlight} in flight`, measured)
    }
  })
  return result
}

function tell(result, prefix, measured) {
  const kinds = {
    'cycles/s': perRound(measured, ({ rate }) => rate),
    'CPU of the server, us/cycle': perRound(measured, ({ serverUs, cycles }) => serverUs / cycles),
    'CPU of the process, us/cycle': perRound(measured, ({ processUs, cycles }) => processUs / cycles),
  }
  for (const [kind, figures] of Object.entries(kinds)) {
    result.figures[`${prefix}: ${kind}`] = spreads(figures)
    result.rounds[`${prefix}: ${kind}`] = figures
  }
  const ofServer = kinds['CPU of the server, us/cycle']
  for (const turn of ['distinct', 'one name']) {
    const what = `${prefix}, ${turn === 'distinct' ? 'distinct names' : turn}`
    result.rows.push(
      against(name, `${what}: CPU of the server`, ofServer, turn, OURS, TARGET),
      against(name, `${what}: cycles/s`, kinds['cycles/s'], turn, OURS),
    )
  }
}
