import { setTimeout as sleep } from 'node:timers/promises'
import { label, OURS, peers } from '../contestants/index.mjs'
import { Child } from '../lib/child.mjs'
import { short } from '../lib/figures.mjs'
import { fact, line } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'many-waiters'
export const title = '100,000 waiters of one process on one name: memory, time to drain'

const OVER_TIME = 'lock-inc, over time'
// So many waiters come in a turn of the event loop.
const A_FEW = 50

/** Peers ask again and again, each waiter for itself: a tenth of the waiters is more than most of them can bear. */
export async function run({ quick, log }) {
  const ours = quick ? 2000 : 100_000
  const theirs = quick ? 500 : 10_000
  const [ourPatience, patience] = quick ? [20_000, 4000] : [120_000, 10_000]
  const found = {}
  const failed = new Map()
  for (const contestant of [OVER_TIME, OURS, ...peers]) {
    const isOurs = contestant === OURS || contestant === OVER_TIME
    const [count, drain] = isOurs ? [ours, ourPatience] : [theirs, patience]
    try {
      const atOnce = contestant === OVER_TIME ? A_FEW : count
      found[contestant] = await crowd(isOurs ? OURS : contestant, { count, atOnce, patience: drain })
      log(`${label(contestant)}: ${told(found[contestant])}`)
    } catch (error) {
      failed.set(contestant, error.message)
      log(`${label(contestant)}: ${error.message}`)
    }
  }
  const row = (who, how) => {
    const measure = `RSS a waiter, ${ours.toLocaleString('en-US')} ${how}`
    return line(name, measure, '1 KiB', found[who] ? [found[who].memory / 1024] : [], { atMost: 1 })
  }
  return {
    facts: found,
    failed,
    rows: [
      row(OVER_TIME, `waiters, ${A_FEW} at a time`),
      row(OURS, 'waiters at once'),
      ...Object.entries(found).map(([contestant, figures]) =>
        fact(name, `${figures.count.toLocaleString('en-US')} waiters`, label(contestant), told(figures)),
      ),
    ],
  }
}

async function crowd(contestant, { count, atOnce, patience }) {
  const server = await Server.start()
  const children = [new Child(contestant, server.port), new Child(contestant, server.port)]
  const [holder, waiters] = children
  try {
    const name = 'crowded'
    await holder.call('take', { name })
    // One waiter comes and goes first: what is set up once is not counted.
    await waiters.call('enqueue', { name: 'other', count: 1 })
    const before = await waiters.call('memory')
    const memoryOfServer = await usedMemory(server)
    const commands = await scripted(server)
    const asked = performance.now()
    await waiters.call('enqueue', { name, count, atOnce }, { deadline: 60_000 })
    await until(async () => (await scripted(server)) - commands >= count, 30_000)
    const queueing = performance.now() - asked
    await sleep(1000)
    const memory = ((await waiters.call('memory', {}, { deadline: 60_000 })) - before) / count
    const serverMemory = ((await usedMemory(server)) - memoryOfServer) / count
    const freed = performance.now()
    await holder.call('give', { name })
    let state = { granted: 0 }
    const isDone = async () => {
      state = await waiters.call('queued', {}, { deadline: patience })
      return state.granted > count
    }
    const drained = await until(isDone, patience)
    const draining = performance.now() - freed
    return {
      count,
      memory,
      serverMemory,
      queueing,
      drained,
      draining,
      granted: state.granted - 1,
      failed: state.failed,
    }
  } finally {
    for (const child of children) child.kill()
    await server.stop()
  }
}

/** How often anybody tried to take a lock: each does that by a script or a SET. */
async function scripted(server) {
  const { evalsha = 0, eval: byEval = 0, set = 0 } = await server.commands()
  return evalsha + byEval + set
}

async function usedMemory(server) {
  return Number((await server.call('INFO', 'memory')).match(/used_memory:(\d+)/)[1])
}

async function until(isSo, ms) {
  const end = performance.now() + ms
  while (performance.now() < end) {
    if (await isSo()) return true
    await sleep(50)
  }
  return false
}

function told({ count, drained, draining, granted, memory, failed }) {
  const each = `${short(memory / 1024)} KiB RSS each`
  if (drained) return `${each}, drained in ${short(draining / 1000)} s`
  const why = failed ? ` (${failed})` : ''
  return `${each}, ${granted} of ${count} served in ${short(draining / 1000)} s${why}`
}
