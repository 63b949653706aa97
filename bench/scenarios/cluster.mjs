import { OURS } from '../contestants/index.mjs'
import { startChildren } from '../lib/child.mjs'
import { quantile, sorted } from '../lib/figures.mjs'
import { inTurns } from '../lib/rounds.mjs'
import { against, perRound, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'
import { cpuOf, startCluster } from '../lib/several.mjs'
import { handOver } from './handover.mjs'

export const name = 'cluster'
export const title =
  'a cluster of three primaries beside one server: cycles/s, CPU, from unlock to the next lock'

const IN_FLIGHT = [1, 16, 64]
const REDLOCK = 'redlock-5'

const ONE = 'lock-inc, one server'
const SPREAD = 'lock-inc, cluster'
const TAGGED = 'lock-inc, cluster, one hash tag'
const PEER_ONE = 'redlock 5, one server'
const PEER = 'redlock 5, cluster'

export async function run({ rounds, quick, log }) {
  const result = { figures: {}, rounds: {}, failed: new Map(), rows: [] }
  const server = await Server.start()
  const fleets = new Map()
  let cluster
  try {
    cluster = await startCluster({ replicas: 0 })
    const nodes = cluster.addresses()
    const places = {
      [ONE]: [OURS, server.port],
      [SPREAD]: [OURS, { nodes }],
      [TAGGED]: [OURS, { nodes, prefix: '{bench}:' }],
      [PEER_ONE]: [REDLOCK, server.port],
      [PEER]: [REDLOCK, { nodes }],
    }
    const start = async (turn) => fleets.set(turn, await startChildren(...places[turn], 2))
    result.failed = (await inTurns(Object.keys(places), 1, start, log)).failed
    const cpu = (turn) => (turn === ONE || turn === PEER_ONE ? server.cpu() : cpuOf(cluster))
    const under = { rounds, quick, log, fleets, cpu, result }
    for (const inFlight of IN_FLIGHT) await cycle(inFlight, under)
    await hand(under)
    return result
  } finally {
    for (const child of Array.from(fleets.values()).flat()) child.kill()
    await cluster?.stop()
    await server.stop()
  }
}

/** Rounds in which all take their turns that have not failed before; the first one does not count. */
async function measure(turn, { rounds, log, fleets, result }) {
  const able = () => Array.from(fleets.keys()).filter((name) => !result.failed.has(name))
  const note = ({ measured, failed }) => {
    for (const [name, why] of failed) result.failed.set(name, why)
    return measured
  }
  note(await inTurns(able(), 1, turn, log))
  return note(await inTurns(able(), rounds, turn, log))
}

async function cycle(inFlight, under) {
  const { quick, fleets, cpu, result } = under
  const measured = await measure(async (turn) => {
    const before = await cpu(turn)
    const [child] = fleets.get(turn)
    const found = await child.call('cycles', { inFlight, ms: quick ? 200 : 500 })
    return { ...found, serverUs: (await cpu(turn)) - before }
  }, under)
  const rates = perRound(measured, ({ rate }) => rate)
  const ofServers = perRound(measured, ({ serverUs, cycles }) => serverUs / cycles)
  const thread = perRound(measured, ({ threadUs, cycles }) => threadUs / cycles)
  tell(result, `${inFlight} in flight`, 'cycles/s', rates)
  tell(result, `${inFlight} in flight`, 'CPU of all servers, us/cycle', ofServers)
  tell(result, `${inFlight} in flight`, 'CPU of the JS thread, us/cycle', thread)
}

async function hand(under) {
  const ms = under.quick ? 700 : 1500
  const measured = await measure((turn) => handOver(under.fleets.get(turn), 'handed', ms), under)
  const at = (q) => perRound(measured, (trips) => quantile(sorted(trips), q))
  tell(under.result, 'unlock to lock', 'p50, ms', at(0.5))
  tell(under.result, 'unlock to lock', 'p99, ms', at(0.99))
}

function tell(result, what, kind, figures) {
  result.figures[`${what}: ${kind}`] = spreads(figures)
  result.rounds[`${what}: ${kind}`] = figures
  const row = (ours, other) =>
    against(
      name,
      `${what}: ${kind.split(',')[0]}${ours === TAGGED ? ', hash tag' : ''}`,
      figures,
      ours,
      other,
    )
  result.rows.push(row(SPREAD, ONE), row(TAGGED, ONE), row(SPREAD, PEER))
}
