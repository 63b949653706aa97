import { OUR_SEMAPHORE, semaphores } from '../contestants/modes.mjs'
import { startChildren } from '../lib/child.mjs'
import { contendTogether } from '../lib/contention.mjs'
import { curve } from '../lib/figures.mjs'
import { inTurns } from '../lib/rounds.mjs'
import { against, best, line, perRound, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'semaphore'
export const title = 'a semaphore of 4, 4 processes x 8 waiters, critical section 5 ms'

const PROCESSES = 4
const WAITERS = 32
const CRITICAL = 5
// So long may those that still wait at the end take.
const PATIENCE = 20_000

export async function run({ rounds, quick, log }) {
  const result = { figures: {}, rounds: {}, failed: new Map(), rows: [], curves: {}, commands: {} }
  const server = await Server.start()
  const fleets = new Map()
  const names = Object.keys(semaphores)
  try {
    const counting = new Map()
    const start = async (name) => {
      fleets.set(name, await startChildren(name, server.port, PROCESSES))
      const warmUp = { name: 'warm-up', waiters: WAITERS, ms: 300, patience: PATIENCE }
      const { sent, scripted } = await server.watchCommands(() => contendTogether(fleets.get(name), warmUp))
      result.commands[name] = { sent: [...sent], scripted: [...scripted] }
      const counts = ([command]) => sent.has(command.split('|')[0]) && !scripted.has(command.split('|')[0])
      const total = (counters) => counters.filter(counts).reduce((sum, [, calls]) => sum + calls, 0)
      counting.set(name, (counters) => total(Object.entries(counters)))
    }
    result.failed = (await inTurns(names, 1, start, log)).failed
    const able = names.filter((name) => !result.failed.has(name))
    const turn = async (contestant) => {
      await server.resetCounters()
      const contention = { waiters: WAITERS, ms: quick ? 700 : 2000, critical: CRITICAL, patience: PATIENCE }
      const found = await contendTogether(fleets.get(contestant), { name: 'a semaphore', ...contention })
      return { ...found, commands: counting.get(contestant)(await server.commands()) / found.total }
    }
    tell(result, await inTurns(able, rounds, turn, log))
  } finally {
    for (const child of Array.from(fleets.values()).flat()) child.kill()
    await server.stop()
  }
  return result
}

function tell(result, { measured, failed }) {
  for (const [contestant, why] of failed) result.failed.set(contestant, why)
  const pick = (figure) => perRound(measured, figure)
  const rates = pick(({ rate }) => rate)
  const p99 = pick((found) => found.p99)
  const commands = pick((found) => found.commands)
  const evenness = pick(({ most, least }) => most / least)
  const beyondIdeal = pick((found) => found.p99 / found.ideal)
  const kinds = {
    'acquisitions/s': rates,
    'wait p50, ms': pick(({ p50 }) => p50),
    'wait p99, ms': p99,
    'wait max, ms': pick(({ max }) => max),
    'wait p99 / first-come ideal': beyondIdeal,
    'commands/acquisition': commands,
    'most/least served process': evenness,
  }
  for (const [kind, figures] of Object.entries(kinds)) {
    result.figures[kind] = spreads(figures)
    result.rounds[kind] = figures
  }
  for (const [contestant, found] of measured) {
    result.curves.waits ??= {}
    result.curves.waits[contestant] = curve(found.flatMap((round) => Array.from(round.waits)))
  }
  const peers = Object.keys(semaphores).filter((name) => name !== OUR_SEMAPHORE)
  const alone = (measure, figures, of, target) =>
    line(name, measure, of, figures[OUR_SEMAPHORE] ?? [], target)
  result.rows.push(
    against(name, 'acquisitions/s', rates, OUR_SEMAPHORE, best(rates, peers, { most: true }), { atLeast: 1 }),
    against(name, 'wait p99', p99, OUR_SEMAPHORE, best(p99, peers), { atMost: 1 / 4 }),
    alone('wait p99', beyondIdeal, 'first-come ideal', { atMost: 1.3 }),
    alone('client commands', commands, 'acquisition', { atMost: 2.2 }),
    alone('most served process', evenness, 'least served', { atMost: 1.1 }),
  )
}
