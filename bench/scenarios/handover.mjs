import { setTimeout as sleep } from 'node:timers/promises'
import { BARE, builds, OURS, peers } from '../contestants/index.mjs'
import { startChildren } from '../lib/child.mjs'
import { curve, quantile, sorted } from '../lib/figures.mjs'
import { inTurns } from '../lib/rounds.mjs'
import { against, beside, best, perRound, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'handover'
export const title = 'unlock in one process to lock in another, as multiples of a PING'

// So many names at a time change hands, to have enough of them in a round; they are rare enough not to meet.
const CHAINS = 8
const PING = 'PING'
const BUSY_PING = 'PING back to back'
const MESSAGE = 'PUBLISH to another process'

// As long as the longest usual pause between two attempts, so that those who poll are met at any time of it.
const pause = () => 5 + Math.random() * 200

export async function run({ rounds, quick, log }) {
  const ms = quick ? 700 : 1500
  const server = await Server.start()
  const fleets = new Map()
  try {
    const names = [...builds, ...peers]
    const start = async (name) => {
      fleets.set(name, await startChildren(name, server.port, 2))
      await handOver(fleets.get(name), 'warm-up', 500)
    }
    const warmUp = await inTurns(names, 1, start, log)
    fleets.set(BARE, await startChildren(BARE, server.port, 2))
    const [pinger, listener] = fleets.get(BARE)
    const channel = 'message'
    await listener.call('listen', { channel })
    const able = names.filter((name) => !warmUp.failed.has(name))
    const turn = async (name) => {
      const pauses = Array.from({ length: Math.round((ms * CHAINS) / 105) }, pause)
      if (name === PING) return pinger.call('pings', { chains: CHAINS, pauses })
      if (name === MESSAGE) {
        const left = await pinger.call('tellAll', { channel, chains: CHAINS, pauses })
        await sleep(50)
        const came = await listener.call('heard')
        return came.map((at, index) => (at - left[index]) / 1e6)
      }
      if (name === BUSY_PING) return pinger.call('pings', { chains: 1, pauses: new Array(2000).fill(0) })
      return handOver(fleets.get(name), 'handed', ms)
    }
    const turns = await inTurns([...able, PING, BUSY_PING, MESSAGE], rounds, turn, log)
    return report(turns.measured, new Map([...warmUp.failed, ...turns.failed]))
  } finally {
    for (const child of Array.from(fleets.values()).flat()) child.kill()
    await server.stop()
  }
}

/** Names go to and fro between two processes. Resolves to ms from the call of unlock to the lock, one by one. */
export async function handOver(children, prefix, ms) {
  const found = []
  const end = performance.now() + ms
  const chain = async (index) => {
    const name = `${prefix} ${index}`
    let [holder, waiter] = index % 2 ? children : children.toReversed()
    await holder.call('take', { name })
    while (performance.now() < end) {
      const taking = waiter.call('take', { name }, { deadline: 20_000 })
      taking.catch(() => {})
      const given = await holder.call('give', { name, after: pause() })
      found.push((await taking) / 1e6 - given / 1e6)
      ;[holder, waiter] = [waiter, holder]
    }
    await holder.call('give', { name })
  }
  await Promise.all(
    Array.from({ length: CHAINS }, async (_, index) => {
      await sleep(index * 10)
      await chain(index)
    }),
  )
  return found
}

function report(measured, failed) {
  const at = (q) => perRound(measured, (trips) => quantile(sorted(trips), q))
  const [p50, p99] = [at(0.5), at(0.99)]
  const calmest = best(p50, peers)
  return {
    figures: { 'p50, ms': spreads(p50), 'p99, ms': spreads(p99) },
    rounds: { 'p50, ms': p50, 'p99, ms': p99 },
    curves: Object.fromEntries(
      Array.from(measured, ([name, found]) => [name, curve(found.flatMap((trips) => Array.from(trips)))]),
    ),
    failed,
    rows: [
      against(name, 'p50', p50, OURS, PING, { atMost: 2 }),
      against(name, 'p50', p50, OURS, BUSY_PING),
      against(name, 'p50', p50, OURS, MESSAGE),
      against(name, 'p99', p99, OURS, PING),
      against(name, 'p50', p50, OURS, calmest),
      ...beside(name, 'p50', p50),
    ],
  }
}
