import { setTimeout as sleep } from 'node:timers/promises'
import { contestants, label, OURS, peers } from '../contestants/index.mjs'
import { Child } from '../lib/child.mjs'
import { fact } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'blocked'
export const title = 'JavaScript thread busy for 5 s, lease 1 s, renewed: still held? told when lost?'

const LEASE = 1000
const BLOCKED = 5000

/** Nothing here is a matter of speed: once is enough, and two at a time leave each a core of most machines. */
export async function run({ quick, log }) {
  const server = await Server.start()
  const found = {}
  const failed = new Map()
  const waiting = [OURS, ...peers]
  const work = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      try {
        found[name] = await block(server, name, quick ? 2500 : BLOCKED)
        log(`${label(name)}: ${told(found[name])}`)
      } catch (error) {
        failed.set(name, error.message)
        log(`${label(name)}: ${error.message}`)
      }
    }
  }
  await Promise.all([work(), work()])
  await server.stop()

  const rows = [OURS, ...peers]
    .filter((name) => found[name])
    .map((contestant) => {
      const wanted = contestant === OURS ? found[contestant].held : undefined
      return fact(name, 'lock after a blocked thread', label(contestant), told(found[contestant]), wanted)
    })
  return { facts: found, failed, rows }
}

async function block(server, contestant, ms) {
  const [holder, other] = await Promise.all([
    Child.start(contestant, server.port),
    Child.start(contestant, server.port),
  ])
  try {
    const blocking = holder.call('holdBlocked', { name: 'blocked', lease: LEASE, ms }, { deadline: 30_000 })
    blocking.catch(() => {})
    // Longer than a lease after the thread went busy, and longer than any pause between two attempts before the end.
    await sleep(LEASE * 1.6)
    const taking = other.call('take', { name: 'blocked' }, { deadline: ms + 20_000 })
    const taken = await Promise.race([taking.then(() => true), sleep(ms - LEASE * 1.6 - 200, false)])
    taking.catch(() => {})
    const { toldAfter, unlocked, faults } = await blocking
    const renews = contestants[contestant].renews !== false
    return { held: !taken, renews, toldAfter, unlocked, faults }
  } finally {
    holder.kill()
    other.kill()
  }
}

function told({ held, renews, toldAfter, faults }) {
  const fault = faults.length > 0 ? `; threw ${faults[0]}` : ''
  if (held) return toldAfter === null ? `held${fault}` : `held, but its owner was told it was lost${fault}`
  const how = renews ? 'lost' : 'lost (it does not renew)'
  if (toldAfter === null) return `${how}, owner not told${fault}`
  return `${how}, owner told ${Math.round(toldAfter)} ms after the block${fault}`
}
