'use strict'

const crypto = require('node:crypto')
const lockFactory = require('..')
const { randomFrom, seeds } = require('./support/random')
const { SERVERS, startRedis } = require('./support/redis-server')
const { lossOf } = require('./support/scene')
const { rejection, until } = require('./support/until')

// The same random steps over memory and every server, each of which must answer the same to all of them.
describe('whatever is asked of it', () => {
  const servers = {}

  beforeAll(async () => {
    for (const name of SERVERS) servers[name] = await startRedis({ name })
  })

  afterAll(() => Promise.all(Object.values(servers).map((server) => server.stop())))

  const specOf = (name, prefix) => ({
    driver: name === 'memory' ? 'memory' : 'redis',
    config: { port: servers[name]?.port },
    settings: { prefix },
  })

  const scenarios = seeds(3)

  it.each(scenarios)(
    'a store answers as memory does (seed %i)',
    async (seed) => {
      const expected = await play(seed, (prefix) => specOf('memory', prefix))
      for (const name of SERVERS) {
        const seen = await play(seed, (prefix) => specOf(name, prefix))
        expect({ name, seen }).toEqual({ name, seen: expected })
      }
    },
    120_000,
  )
})

/** Leases in seconds, each far from the others, as is that of 5 s with which a lock begins that was waited for. */
const LEASES = [60, 120, 180]

/** So many milliseconds may have passed since a lease was given, when it is looked at. */
const TOLERANCE = 4000

/** What is left of which lease, in seconds. */
function leaseOf(lock) {
  const left = lock.remaining()
  const lease = [5, ...LEASES].find((lease) => {
    const whole = lease * 990 - 2
    return left <= whole && left > whole - TOLERANCE
  })
  return lease ? `${lease} s` : `${left} ms`
}

/** Takes the steps of a seed, one after the other. What can be seen of each of them. */
async function play(seed, specOf) {
  const random = randomFrom(seed)
  const pick = (list) => list[Math.floor(random() * list.length)]
  const take = (list) => list.splice(Math.floor(random() * list.length), 1)[0]
  const prefix = `${crypto.randomUUID()}:`
  const resources = ['a', 'b']
  const lockers = []
  /** Names of lockers, by the ids that the store has of them. */
  const named = {}
  /** Locks that were granted and not unlocked, and the names of all locks there have been, by their tokens. */
  const locks = []
  const lockNames = new Map()
  /** The name of the lock that was granted last to a locker on a resource, by the names of both. */
  const newest = new Map()
  const granted = { a: 0, b: 0 }
  const lastToken = { a: 0, b: 0 }
  /** Calls that wait. */
  let calls = []
  let opened = 0
  let called = 0
  let seen

  async function open() {
    const name = `locker ${++opened}`
    const locker = lockFactory(specOf(prefix))
    const lock = await locker.lock(name)
    named[(await locker.inspect(name)).holders[0].clientId] = name
    await lock.unlock()
    lockers.push({ name, locker })
  }

  const standing = ({ lock, name }) =>
    `${name} ${lock.signal.aborted ? `lost: ${lock.signal.reason.reason}` : lock.held}`

  function enter(owner, lock, { expire, renew, timeout }) {
    const { resourceId, token } = lock
    const name = `lock ${resourceId}${++granted[resourceId]}`
    const grows = token > lastToken[resourceId]
    lastToken[resourceId] = token
    lockNames.set(token, name)
    newest.set(`${owner.name} ${resourceId}`, name)
    locks.push({ owner, lock, name, renew })
    // After a purge, who gets which resource first is nobody's concern.
    locks.sort((one, other) => one.lock.resourceId.localeCompare(other.lock.resourceId))
    // One that was waited for has 5 s, or already the rest of it.
    const lease = timeout && ['5 s', `${expire} s`].includes(leaseOf(lock)) ? 'a lease' : leaseOf(lock)
    return `${name} for ${lease}${grows ? '' : ', an old token'}`
  }

  /** The name of the lock that somebody holds. Of a young lock the token is not known: it is the locker's newest. */
  const nameOf = (resource, { token, clientId }) => {
    if (token !== null) return lockNames.get(token)
    return newest.get(`${named[clientId]} ${resource}`)
  }

  const toldError = ({ name, code, resourceId, holder, position, details }) => {
    const holds = holder ? `${nameOf(resourceId, holder)} of ${named[holder.clientId]}` : undefined
    return JSON.stringify({ name, code, holds, position, numberOfLocks: details?.numberOfLocks })
  }

  /** What comes of a call to `lock` or `tryLock`. */
  const outcome = (owner, method, resource, options) =>
    owner.locker[method](resource, options).then(
      (lock) => (lock ? enter(owner, lock, options) : 'null'),
      toldError,
    )
  const settled = (promise) => promise.then(String, toldError)

  const options = () => ({ expire: pick(LEASES), renew: random() < 0.3 })
  const waitingFor = (resource) => calls.filter((call) => call.resource === resource && !call.outcome)

  /** Each call that waits is in the queue, and whoever holds a resource knows it, as does who has lost it. */
  async function settle(resource) {
    await until(async () => {
      const waiting = waitingFor(resource).length
      const found = await lockers[0].locker.inspect(resource)
      const holder = found?.holders[0]
      const name = holder && nameOf(resource, holder)
      const isKnown = waiting === 0 && !holder ? true : name !== undefined
      const told = locks.filter(({ owner, lock }) => lock.resourceId === resource && lockers.includes(owner))
      return (
        isKnown &&
        (found?.waiters.length ?? 0) === waiting &&
        waiting === waitingFor(resource).length &&
        told.every((one) => (one.name === name ? one.lock.held : one.lock.signal.aborted))
      )
    }, `all know of ${resource}`)
  }

  async function state(resource) {
    const found = await pick(lockers).locker.inspect(resource)
    if (found === null) return `${resource} is free`
    const [holder] = found.holders
    const holds = `${nameOf(resource, holder)} of ${named[holder.clientId]}`
    const waiters = found.waiters.map(({ clientId }) => named[clientId])
    return `${resource}: ${holds}, asked for ${found.count} times, waiting: ${waiters}`
  }

  const steps = {
    lock: () => outcome(pick(lockers), 'lock', pick(resources), options()),
    tryLock: () => outcome(pick(lockers), 'tryLock', pick(resources), options()),
    lockWithTimeout: () => outcome(pick(lockers), 'lock', pick(resources), { ...options(), timeout: 400 }),
    async wait() {
      const owner = pick(lockers)
      const controller = new AbortController()
      const call = { name: `call ${++called}`, resource: pick(resources), controller, outcome: undefined }
      const { signal } = controller
      const waiting = outcome(owner, 'lock', call.resource, { ...options(), signal, timeout: Infinity })
      waiting.then((told) => {
        call.outcome = told
        seen[call.resource].push(`${call.name}: ${told}`)
      })
      calls.push(call)
      return `${call.name} of ${owner.name} for ${call.resource}`
    },
    async unlock() {
      if (locks.length === 0) return 'nothing'
      const { lock, name } = take(locks)
      return `${name}: ${await settled(lock.unlock())}`
    },
    async unlockByName() {
      const { name, locker } = pick(lockers)
      const resource = pick(resources)
      const isTheirs = ({ owner, lock }) => owner.locker === locker && lock.resourceId === resource
      const last = locks.findLast(isTheirs)
      const unlocked = await locker.unlock(resource)
      if (unlocked) locks.splice(locks.indexOf(last), 1)
      return `${name}, ${resource}: ${unlocked}`
    },
    async extend() {
      if (locks.length === 0) return 'nothing'
      const { lock, name } = pick(locks)
      const lease = pick(LEASES)
      const extended = await settled(lock.extend(lease))
      return `${name}: ${extended}${extended === 'true' ? `, ${leaseOf(lock)}` : ''}`
    },
    /** The lease ends. Whoever comes next, if only to look whether it is free, finds that others were first. */
    async expire() {
      const open = locks.filter(({ owner, lock, renew }) => !renew && lock.held && lockers.includes(owner))
      if (open.length === 0) return 'nothing'
      const { lock, name } = pick(open)
      const loss = lossOf(lock)
      await lock.extend(0.2)
      const { code, reason } = await loss
      const { locker } = lockers[0]
      await until(async () => (await locker.inspect(lock.resourceId))?.holders[0]?.token !== lock.token)
      const found = await locker.tryLock(lock.resourceId)
      await found?.unlock()
      return `${name}: ${code} ${reason}, then ${found ? 'free' : 'taken'}`
    },
    async cancel() {
      const waiting = calls.filter((call) => !call.outcome)
      if (waiting.length === 0) return 'nothing'
      const call = pick(waiting)
      call.controller.abort()
      await until(() => call.outcome)
      return call.name
    },
    async forceUnlock() {
      const resource = pick(resources)
      return `${resource}: ${await pick(lockers).locker.forceUnlock(resource)}`
    },
    async purge() {
      return settled(pick(lockers).locker.purge())
    },
    async close() {
      const [{ name, locker }] = lockers.splice(Math.floor(random() * lockers.length), 1)
      await locker.close()
      await open()
      const closed = [await rejection(locker.lock('a')), await rejection(locker.isLocked('a'))]
      return `${name}: ${closed.map(toldError)}`
    },
  }
  const often = ['lock', 'tryLock', 'wait', 'wait', 'unlock', 'unlock', 'extend', 'cancel']

  const list = []
  try {
    for (let count = 0; count < 3; count++) await open()
    for (let step = 0; step < 80; step++) {
      const name = random() < 0.7 ? pick(often) : pick(Object.keys(steps))
      list.push(`${step} ${name}`)
      seen = { a: [], b: [] }
      const result = await steps[name]()
      for (const resource of resources) await settle(resource)
      list.push(result, ...seen.a, ...seen.b)
      for (const resource of resources) list.push(await state(resource))
      list.push(locks.map(standing).join(', '))
      calls = calls.filter((call) => !call.outcome)
    }
  } catch (error) {
    error.message += `\nafter: ${list.join('\n')}`
    throw error
  } finally {
    await Promise.all(lockers.map(({ locker }) => locker.close()))
  }
  return list
}
