// What a contestant's process can be told to do. Each task takes the contestant, its arguments, and the list of
// what was thrown where nobody caught it.
import { createRequire } from 'node:module'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { measureCpu } from './cpu.mjs'

const { slotOf } = createRequire(import.meta.url)('../../__test__/support/slots.js')

/** Nanoseconds of CLOCK_MONOTONIC, which all processes of a Linux machine share. */
const now = () => Number(process.hrtime.bigint())

const held = new Map()

/** Several contestants put nothing of their own in front of a name: beside each other they would meet. */
const own = (name) => `${process.argv[2]} ${name}`

export function ready() {}

/** `inFlight` lanes, each with a name of its own unless there are fewer `names`: lock, unlock, again, for so many ms. */
export async function cycles({ lock }, { inFlight, names = inFlight, ms, prefix = 'cycles' }) {
  let done = 0
  const measured = measureCpu()
  const end = performance.now() + ms
  const lane = async (name) => {
    while (performance.now() < end) {
      const unlock = await lock(name)
      await unlock()
      done++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, (_, index) => lane(own(`${prefix} ${index % names}`))))
  const cpu = measured()
  return { cycles: done, rate: (done / cpu.ms) * 1000, ...cpu }
}

/**
 * `waiters` that want the same name, over and over, until `end`. What is granted after `start` counts: by then the
 * queue has formed. Who waits at the end is waited for, so that a long wait is not left out for being long; such
 * grants count as waits and not for the rate.
 */
export async function contend({ lockWaiting }, { name, waiters, start, end, critical }) {
  const resource = own(name)
  const waits = []
  let granted = 0
  let worked = 0
  let total = 0
  const waiter = async () => {
    while (now() < end) {
      const asked = now()
      const unlock = await lockWaiting(resource)
      const got = now()
      total++
      if (got >= start) waits.push((got - asked) / 1e6)
      if (critical > 0) await sleep(critical)
      if (got >= start && got <= end) {
        granted++
        worked += (now() - got) / 1e6
      }
      await unlock()
    }
  }
  await Promise.all(Array.from({ length: waiters }, waiter))
  return { granted, worked, total, waits: Float64Array.from(waits) }
}

/** Holds a lock for a while, gives it up and takes it again, so many times. Resolves to the ms of both. */
export async function pauses({ lock }, { pause, times }) {
  const name = own('paused')
  const found = { unlock: [], lock: [] }
  let unlock = await lock(name)
  for (let time = 0; time < times; time++) {
    await sleep(pause)
    const left = now()
    await unlock()
    const unlocked = now()
    unlock = await lock(name)
    found.unlock.push((unlocked - left) / 1e6)
    found.lock.push((now() - unlocked) / 1e6)
  }
  await unlock()
  return found
}

/** Waits for the lock, and tells when it came. */
export async function take({ lockWaiting }, { name }) {
  const unlock = await lockWaiting(own(name))
  const at = now()
  held.set(name, unlock)
  return at
}

/** Unlocks after a while, and tells when it began to. */
export async function give(_, { name, after = 0 }) {
  if (after > 0) await sleep(after)
  const unlock = held.get(name)
  held.delete(name)
  const at = now()
  await unlock()
  return at
}

/** Does something after each of the pauses, so many chains at a time. */
async function afterPauses({ pauses, chains }, act) {
  const chain = async (index) => {
    for (let next = index; next < pauses.length; next += chains) {
      if (pauses[next] > 0) await sleep(pauses[next])
      await act(next)
    }
  }
  await Promise.all(Array.from({ length: chains }, (_, index) => chain(index)))
}

/** Round trips in ms, each after a pause of its own. */
export async function pings({ ping }, args) {
  const trips = []
  await afterPauses(args, async () => {
    const asked = now()
    await ping()
    trips.push((now() - asked) / 1e6)
  })
  return Float64Array.from(trips)
}

const messages = []

/** From now on it is noted when which message comes. */
export function listen({ subscribe }, { channel }) {
  return subscribe(channel, (message) => {
    messages[Number(message)] = now()
  })
}

export const heard = () => Float64Array.from(messages.splice(0))

/** When each message left, one after each of the pauses. */
export async function tellAll({ publish }, { channel, ...args }) {
  const left = []
  await afterPauses(args, async (index) => {
    left[index] = now()
    await publish(channel, String(index))
  })
  return Float64Array.from(left)
}

/** Blocks the thread of JavaScript while a lock is held, and tells what the lock's owner heard of it. */
export async function holdBlocked({ hold }, { name, lease, ms }, faults) {
  let lostAt
  const onLost = () => {
    lostAt ??= performance.now()
  }
  const unlock = await hold(own(name), lease, { renewed: true, onLost })
  const end = performance.now() + ms
  while (performance.now() < end);
  const freed = performance.now()
  // What was due meanwhile gets its turn.
  await sleep(500)
  const unlocked = await Promise.race([
    Promise.resolve(unlock()).then(String, (error) => `rejected: ${error.message}`),
    sleep(2000, 'no answer'),
  ])
  return { toldAfter: lostAt === undefined ? null : lostAt - freed, unlocked, faults: [...faults] }
}

/** Takes so many names and keeps them, `inFlight` at a time; `spread` ms are spent on it at least. */
export async function holdMany({ hold }, { count, from = 0, lease, renewed, inFlight = 256, spread = 0 }) {
  const start = performance.now()
  let next = from
  let lost = 0
  const lane = async () => {
    while (next < from + count) {
      const index = next++
      const due = ((index - from) / count) * spread - (performance.now() - start)
      if (due > 0) await sleep(due)
      held.set(index, await hold(own(`held ${index}`), lease, { renewed, onLost: () => lost++ }))
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  return { ms: performance.now() - start, lost }
}

/** CPU of so many ms in which nothing is asked for. */
export async function idle(_, { ms }) {
  const measured = measureCpu()
  await sleep(ms)
  return measured()
}

export function memory() {
  globalThis.gc()
  globalThis.gc()
  return process.memoryUsage().rss
}

const queue = { granted: 0, lastAt: undefined, failed: undefined }

/**
 * So many waiters for one name that somebody else holds. Each unlocks as soon as it is granted. `atOnce`: how many of
 * them come in one turn of the event loop.
 */
export async function enqueue({ lockWaiting }, { name, count, atOnce = count }) {
  const resource = own(name)
  const start = performance.now()
  for (let index = 0; index < count; index++) {
    if (index > 0 && index % atOnce === 0) await nextTurn()
    lockWaiting(resource)
      .then((unlock) => {
        queue.granted++
        queue.lastAt = now()
        return unlock()
      })
      .catch((error) => {
        queue.failed ??= String(error)
      })
  }
  return performance.now() - start
}

export const queued = () => queue

const crowd = []

/** So many names, each held, and waited for by a locker of its own. */
export async function waitEach({ hold, another }, { count }) {
  await holdMany({ hold }, { count, lease: 600_000, renewed: false })
  for (let index = 0; index < count; index++) {
    const locker = another()
    const served = locker.lockWaiting(own(`held ${index}`))
    // Who is not served in time is told of there.
    served.catch(() => {})
    crowd.push({ locker, served })
  }
}

/** All that are held are unlocked. Resolves to the ms until each who waited has got its lock. */
export async function serveEach() {
  const start = performance.now()
  for (const unlock of held.values()) unlock()
  held.clear()
  await Promise.all(crowd.map(({ served }) => served))
  return performance.now() - start
}

/** Resolves to the ms until they are closed. */
export async function closeEach() {
  const start = performance.now()
  await Promise.all(crowd.splice(0).map(({ locker }) => locker.close()))
  return performance.now() - start
}

let fresh = 0

/** A name that nobody had yet, with a key in one of these ranges of slots. */
function freshIn(ranges, keyOf) {
  for (;;) {
    const name = own(`fresh ${fresh++}`)
    const slot = slotOf(keyOf(name))
    if (ranges.some(([first, last]) => first <= slot && slot <= last)) return name
  }
}

const locking = { until: Infinity, lanes: [], rejected: new Map() }

/**
 * Takes locks of fresh names, one after the other with a pause, in a lane for each of the sets of ranges of slots; whatever is
 * rejected is tried again. Goes on until `stopLocking`. A lock is given up while the lane goes on.
 */
export function keepLocking({ lockWaiting, keyOf }, { lanes, pause }) {
  const note = (what) => (error) => {
    const text = `${what}: ${error.message}`
    locking.rejected.set(text, (locking.rejected.get(text) ?? 0) + 1)
  }
  const lane = async (ranges) => {
    const calls = []
    for (let asked = now(); ; asked = now()) {
      let unlock
      while (!unlock) {
        unlock = await lockWaiting(freshIn(ranges, keyOf)).catch(note('lock'))
        if (!unlock) await sleep(pause)
      }
      calls.push({ asked, got: now() })
      unlock().catch(note('unlock'))
      if (asked > locking.until) return calls
      await sleep(pause)
    }
  }
  locking.until = Infinity
  locking.rejected.clear()
  locking.lanes = lanes.map(lane)
}

/** Each lane ends with a lock that it has asked for from now on. Resolves to when each was asked for, and got. */
export async function stopLocking() {
  locking.until = now()
  const lanes = await Promise.all(locking.lanes)
  return { lanes, rejected: [...locking.rejected] }
}

const kept = { lost: false, unlock: undefined }

/** Keeps a lock alive until `endKeeping`. Resolves to its key. */
export async function keep({ hold, keyOf }, { ranges, lease }) {
  const name = freshIn(ranges, keyOf)
  const onLost = () => {
    kept.lost = true
  }
  kept.unlock = await hold(name, lease, { renewed: true, onLost })
  return keyOf(name)
}

/** Whether its owner was told that it is lost, and why it could not be given up, if so. */
export async function endKeeping() {
  const { lost } = kept
  const refused = await kept.unlock().then(() => null, String)
  return { lost, refused }
}

export function close({ close }) {
  return close()
}
