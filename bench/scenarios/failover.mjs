import { setTimeout as sleep } from 'node:timers/promises'
import { builds, label, OURS } from '../contestants/index.mjs'
import { Child } from '../lib/child.mjs'
import { short } from '../lib/figures.mjs'
import { against, fact, spreads } from '../lib/rows.mjs'
import { FailingCluster, FailingPrimary } from '../lib/several.mjs'

export const name = 'failover'
export const title = 'a primary is killed: time without service, and what others notice of it'

const PEER = 'redlock-5'
const SERVERS = 'the servers themselves'
const LEASE = 30_000

/** Three primaries with a replica each; a primary with two replicas and three sentinels. */
const GROUPS = {
  cluster: () => FailingCluster.start({ nodeTimeout: 2000 }),
  'cluster without full coverage': () => FailingCluster.start({ nodeTimeout: 2000, fullCoverage: false }),
  Sentinel: () => FailingPrimary.start({ downAfter: 1000 }),
}

export async function run({ rounds, quick, log }) {
  const result = { figures: {}, rounds: {}, facts: {}, failed: new Map(), rows: [] }
  const kills = quick ? 2 : Math.max(5, rounds)
  for (const [kind, start] of Object.entries(GROUPS)) {
    const group = await start()
    const children = new Map([...builds, PEER].map((name) => [name, new Child(name, group.where)]))
    try {
      await measure(kind, { group, children, kills, log, result })
    } finally {
      for (const child of children.values()) child.kill()
      await group.stop()
    }
  }
  return result
}

/** No turns here: all live through the same failovers, as elections differ by a second. */
async function measure(kind, { group, children, kills, log, result }) {
  /** What it is for each contestant; one that fails is left out from then on. */
  const each = async (act) => {
    const one = async ([name, child]) => {
      try {
        return [name, await act(child, name)]
      } catch (error) {
        result.failed.set(`${label(name)}, ${kind}`, error.message)
        log(`${kind}, ${label(name)}: ${error.message}`)
        children.delete(name)
        child.kill()
      }
    }
    return Object.fromEntries((await Promise.all(Array.from(children, one))).filter(Boolean))
  }
  const keys = await each((child) => child.call('keep', { ranges: group.failing, lease: LEASE }))
  const since = performance.now()
  const rounds = []
  for (let kill = 1; kill <= kills; kill++) {
    rounds.push(await failOver(group, each))
    log.progress(`${kind}: kill ${kill} of ${kills}`)
    try {
      await group.repair()
    } catch (error) {
      // What was measured before counts.
      result.failed.set(`${SERVERS}, ${kind}, kill ${kill}`, error.message)
      break
    }
  }
  // One that was not kept alive is over by then.
  await sleep(Math.max(0, 1.1 * LEASE - (performance.now() - since)))
  const ms = performance.now() - since
  const kept = await each(async (child, name) => {
    const ttl = await group.ttl(keys[name])
    const { lost, refused } = await child.call('endKeeping')
    return { isHeld: ttl > 0 && !lost && refused === null, ttl, lost, refused, ms }
  })
  report(kind, rounds, kept, result)
}

/** Resolves to ms without service, of the longest call at another primary, and what was rejected, by contestant. */
async function failOver(group, each) {
  const lanes = [group.failing, group.spared].filter((ranges) => ranges.length > 0)
  await each((child) => child.call('keepLocking', { lanes, pause: 10 }))
  // Servers die at any time between two looks at each other.
  await sleep(500 + Math.random() * 1000)
  const at = await group.kill()
  const servers = ((await group.served()) - at) / 1e6
  const found = await each((child) => child.call('stopLocking', {}, { deadline: 90_000 }))
  const of = (pick) =>
    Object.fromEntries(
      Object.entries(found).map(([name, { lanes, rejected }]) => [name, pick(lanes, rejected)]),
    )
  return {
    outage: { [SERVERS]: servers, ...of(([failing]) => (endOfLongestGap(failing) - at) / 1e6) },
    delay: group.spared.length > 0 ? of(([, spared]) => longest(spared, at) / 1e6) : {},
    rejected: of((_, rejected) => rejected),
  }
}

function endOfLongestGap(calls) {
  const gaps = calls.slice(1).map(({ got }, index) => got - calls[index].got)
  return calls[gaps.indexOf(Math.max(...gaps)) + 1].got
}

/** Of the calls that had an answer after that. */
function longest(calls, at) {
  return Math.max(...calls.filter(({ got }) => got > at).map(({ asked, got }) => got - asked))
}

function report(kind, rounds, kept, result) {
  const of = (figure) => {
    const names = Object.keys(rounds.at(-1)[figure])
    return Object.fromEntries(names.map((name) => [name, rounds.map((round) => round[figure][name])]))
  }
  const kinds = { 'time without service': of('outage'), 'longest call at another primary': of('delay') }
  for (const [measure, figures] of Object.entries(kinds)) {
    if (Object.keys(figures).length === 0) continue
    result.figures[`${kind}: ${measure}, ms`] = spreads(figures)
    result.rounds[`${kind}: ${measure}, ms`] = figures
    const others = [SERVERS, PEER].filter((other) => figures[other])
    result.rows.push(...others.map((other) => against(name, `${kind}: ${measure}`, figures, OURS, other)))
  }
  const rejected = of('rejected')
  result.facts[kind] = { kept, rejected }
  for (const [contestant, { isHeld, ms }] of Object.entries(kept)) {
    const found = `${isHeld ? 'held' : 'lost'} after ${rounds.length} kills in ${short(ms / 1000)} s`
    const wanted = contestant === OURS ? isHeld : undefined
    const count = rejected[contestant].flat().reduce((sum, [, times]) => sum + times, 0)
    result.rows.push(
      fact(name, `${kind}: renewed lock, lease 30 s`, label(contestant), found, wanted),
      fact(name, `${kind}: calls that rejected`, label(contestant), String(count)),
    )
  }
}
