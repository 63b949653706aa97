import { BARE, builds, OURS, peers } from '../contestants/index.mjs'
import { scriptFloor } from '../lib/redis-benchmark.mjs'
import { inTurns, withChildren } from '../lib/rounds.mjs'
import { against, beside, best, line, perRound, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'concurrent'
export const title = '4 to 1024 in flight on distinct names, cycles/s and CPU'

const FLOOR = 'redis-benchmark'

const TARGETS = { rate: { atLeast: 1.5 }, floor: { atLeast: 0.5 }, thread: { atMost: 0.5 } }

/** How many cycles go on at a time, and what is to be reached. */
const IN_FLIGHT = new Map([
  [4, {}],
  [16, {}],
  [64, TARGETS],
  [1024, TARGETS],
])

export async function run({ rounds, quick, log }) {
  const result = { figures: {}, rounds: {}, failed: new Map(), rows: [] }
  const names = [...builds, ...peers, BARE]
  const floor = await Server.start()
  await withChildren(names, async (server, children) => {
    for (const [inFlight, targets] of IN_FLIGHT) {
      await measure(inFlight, targets, names, { rounds, quick, log, floor, server, children, result })
    }
  })
  await floor.stop()
  return result
}

async function measure(inFlight, targets, names, { rounds, quick, log, floor, server, children, result }) {
  const cycles = async (name, ms) => {
    const before = await server.cpu()
    const found = await children.get(name).call('cycles', { inFlight, ms })
    return { ...found, serverUs: (await server.cpu()) - before }
  }
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
  const ofServer = perRound(measured, ({ serverUs, cycles }) => serverUs / cycles)
  const busy = perRound(measured, ({ serverUs, ms }) => serverUs / 1000 / ms)
  const kinds = {
    'cycles/s': rates,
    'CPU of the process, us/cycle': whole,
    'CPU of the JS thread, us/cycle': thread,
    'CPU of the server, us/cycle': ofServer,
    'share of the time that the server is busy': busy,
  }
  for (const [kind, figures] of Object.entries(kinds)) {
    result.figures[`${inFlight} in flight: ${kind}`] = spreads(figures)
    result.rounds[`${inFlight} in flight: ${kind}`] = figures
  }
  const row = (measure, ...rest) => against(name, `${inFlight} in flight: ${measure}`, ...rest)
  const fastest = best(rates, peers, { most: true })
  result.rows.push(
    row('cycles/s', rates, OURS, fastest, targets.rate),
    row('cycles/s', rates, OURS, FLOOR, targets.floor),
    row('CPU of the JS thread', thread, OURS, best(thread, peers), targets.thread),
    row('CPU of the process', whole, OURS, best(whole, peers)),
    row('CPU of the server', ofServer, OURS, best(ofServer, peers)),
    ...beside(name, `${inFlight} in flight: cycles/s`, rates),
    ...beside(name, `${inFlight} in flight: CPU of the JS thread`, thread),
    ...beside(name, `${inFlight} in flight: CPU of the process`, whole),
    line(name, `${inFlight} in flight: time that the server is busy`, 'all the time', busy[OURS] ?? []),
  )
}
