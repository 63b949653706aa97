import { setTimeout as sleep } from 'node:timers/promises'
import { OURS } from '../contestants/index.mjs'
import { bytesOf, calls } from '../contestants/our-scripts.mjs'
import { Child } from '../lib/child.mjs'
import { sendAcquires, sendReleases, sendRenewals } from '../lib/redis-benchmark.mjs'
import { inTurns } from '../lib/rounds.mjs'
import { line, perRound, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'scripts'
export const title = 'what each of our scripts costs in the server, by its own count'

// On which of the calls that redis-benchmark sends.
const SENT = {
  'acquire, of a free resource': sendAcquires,
  'release, where nobody waits': sendReleases,
  renew: sendRenewals,
}
const JOIN = 'acquire, to wait'
const HAND_OVER = 'release, handing over'

export async function run({ rounds, quick, log }) {
  const server = await Server.start()
  const options = { pipeline: 64, requests: quick ? 5000 : 20_000 }
  const waiters = quick ? 1000 : 10_000
  try {
    const queues = []
    const turn = async (script, round) => {
      if (script === JOIN) queues[round] = await queueUp(server, `queue ${round}`, waiters)
      return SENT[script] ? SENT[script](server, options) : queues[round][script]
    }
    const scripts = [...Object.keys(SENT), JOIN, HAND_OVER]
    const { measured, failed } = await inTurns(scripts, rounds, turn, log)
    const cost = perRound(measured, ({ us }) => us)
    const inside = perRound(measured, (found) => found.inside)
    const bytes = Object.fromEntries(
      Object.entries(calls).map(([call, of]) => [call, bytesOf(of('1'.repeat(12)))]),
    )
    return {
      figures: { 'us a call': spreads(cost), 'commands inside': spreads(inside) },
      rounds: { 'us a call': cost, 'commands inside': inside },
      facts: { bytes },
      failed,
      rows: Object.entries(cost).map(([script, figures]) => line(name, script, '1 us', figures)),
    }
  } finally {
    await server.stop()
  }
}

/** A process of waiters comes and is served. What that cost, for each of them. */
async function queueUp(server, resource, count) {
  await server.call('FLUSHALL')
  const [holder, waiting] = await Promise.all([OURS, OURS].map((who) => Child.start(who, server.port)))
  try {
    await holder.call('take', { name: resource })
    await server.resetCounters()
    await waiting.call('enqueue', { name: resource, count, atOnce: 50 })
    const joined = await whenDone(server, count)
    await server.resetCounters()
    await holder.call('give', { name: resource })
    return { [JOIN]: joined, [HAND_OVER]: await whenDone(server, count) }
  } finally {
    for (const child of [holder, waiting]) child.kill()
  }
}

/** The cost of scripts, as soon as so many have run. */
async function whenDone(server, count) {
  for (const end = performance.now() + 30_000; performance.now() < end; await sleep(50)) {
    const cost = await server.scriptCost()
    if (cost.scripts >= count) return cost
  }
  throw new Error('not all waiters were served within 30 s')
}
