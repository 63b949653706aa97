import { builds, label, OURS, peers } from '../contestants/index.mjs'
import { startChildren } from '../lib/child.mjs'
import { contendTogether } from '../lib/contention.mjs'
import { curve } from '../lib/figures.mjs'
import { inTurns } from '../lib/rounds.mjs'
import { against, beside, best, line, perRound, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'hot'
export const title = 'one name, 4 processes x 8 waiters, critical section 0 and 5 ms'

const PROCESSES = 4
const WAITERS = 32
// So long may those that still wait at the end take.
const PATIENCE = 20_000

export async function run({ rounds, quick, log }) {
  const result = { figures: {}, rounds: {}, failed: new Map(), rows: [], curves: {}, commands: {} }
  const server = await Server.start()
  const fleets = new Map()
  try {
    const names = [...builds, ...peers]
    const counting = new Map()
    const start = async (name) => {
      fleets.set(name, await startChildren(name, server.port, PROCESSES))
      counting.set(name, await learnCommands(server, fleets.get(name), name, result))
    }
    const warmUp = await inTurns(names, 1, start, log)
    result.failed = warmUp.failed
    const able = names.filter((name) => !warmUp.failed.has(name))
    for (const critical of [0, 5]) {
      await measure(critical, able, { rounds, quick, log, server, fleets, counting, result })
    }
  } finally {
    for (const child of Array.from(fleets.values()).flat()) child.kill()
    await server.stop()
  }
  return result
}

/**
 * Redis counts the commands of scripts and those of clients together. So the warm-up is watched, and afterwards the
 * counters of those commands are added up that clients send themselves.
 */
async function learnCommands(server, children, name, result) {
  const warmUp = { name: 'warm-up', waiters: WAITERS, ms: 300, patience: PATIENCE }
  const { sent, scripted } = await server.watchCommands(() => contendTogether(children, warmUp))
  // A command that is both sent and called by a script cannot be told apart, and is not counted. Of ours those are two of the
  // five of a transaction, which contended locks do without.
  const both = [...sent].filter((command) => scripted.has(command))
  result.commands[name] = { sent: [...sent], scripted: [...scripted], both }
  return (counters) =>
    Object.entries(counters)
      .filter(([command]) => sent.has(command.split('|')[0]) && !scripted.has(command.split('|')[0]))
      .reduce((sum, [, calls]) => sum + calls, 0)
}

async function measure(critical, names, { rounds, quick, log, server, fleets, counting, result }) {
  const prefix = `${critical} ms`
  const turn = async (contestant) => {
    await server.resetCounters()
    const contention = {
      name: prefix,
      waiters: WAITERS,
      ms: quick ? 700 : 2000,
      critical,
      patience: PATIENCE,
    }
    const found = await contendTogether(fleets.get(contestant), contention)
    const commands = counting.get(contestant)(await server.commands()) / found.total
    return { ...found, commands }
  }
  const { measured, failed } = await inTurns(names, rounds, turn, log)
  for (const [contestant, why] of failed) result.failed.set(contestant, why)

  const pick = (figure) => perRound(measured, figure)
  const rates = pick(({ rate }) => rate)
  const p99 = pick((found) => found.p99)
  const p99OfTime = pick((found) => found.p99OfTime)
  const commands = pick((found) => found.commands)
  const evenness = pick(({ most, least }) => most / least)
  const beyondIdeal = pick((found) => found.p99 / found.ideal)
  const kinds = {
    'acquisitions/s': rates,
    'from unlock to the next lock, ms': pick(({ gap }) => gap),
    'wait p50, ms': pick(({ p50 }) => p50),
    'wait p99, ms': p99,
    'wait p99 of the time waited, ms': p99OfTime,
    'wait max, ms': pick(({ max }) => max),
    'wait p99 / first-come ideal': beyondIdeal,
    'commands/acquisition': commands,
    'most/least served process': evenness,
  }
  for (const [kind, figures] of Object.entries(kinds)) {
    result.figures[`${prefix}: ${kind}`] = spreads(figures)
    result.rounds[`${prefix}: ${kind}`] = figures
  }
  for (const [contestant, found] of measured) {
    const waits = found.flatMap((round) => Array.from(round.waits))
    result.curves[prefix] ??= {}
    result.curves[prefix][contestant] = curve(waits)
  }

  const row = (measure, ...rest) => against(name, `${prefix}: ${measure}`, ...rest)
  const alone = (measure, figures, of, target) =>
    line(name, `${prefix}: ${measure}`, of, figures[OURS] ?? [], target)
  const fastest = best(rates, peers, { most: true })
  const calmest = best(p99, peers)
  const rows =
    critical === 0
      ? [
          row('wait p99', p99, OURS, calmest, { atMost: 1 / 4 }),
          row('acquisitions/s', rates, OURS, calmest, { atLeast: 0.9 }),
          row('acquisitions/s', rates, OURS, fastest),
          alone('wait p99', beyondIdeal, 'first-come ideal'),
        ]
      : [
          row('acquisitions/s', rates, OURS, fastest, { atLeast: 1 }),
          row('wait p99', p99, OURS, calmest, { atMost: 1 / 8 }),
          alone('wait p99', beyondIdeal, 'first-come ideal', { atMost: 1.3 }),
        ]
  rows.push(
    row('wait p99 of the time waited', p99OfTime, OURS, best(p99OfTime, peers), {
      atMost: critical === 0 ? 1 / 4 : 1 / 8,
    }),
    alone('client commands', commands, 'acquisition', { atMost: 2.2 }),
    alone('most served process', evenness, 'least served', { atMost: 1.1 }),
  )
  result.rows.push(
    ...rows,
    ...beside(name, `${prefix}: acquisitions/s`, rates),
    ...beside(name, `${prefix}: wait p99`, p99),
  )
  for (const contestant of measured.keys()) {
    if (result.commands[contestant].both.length > 0) {
      log(
        `${label(contestant)}: commands are an upper limit, scripts call ${result.commands[contestant].both}`,
      )
    }
  }
}
