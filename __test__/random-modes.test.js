'use strict'

const crypto = require('node:crypto')
const lockFactory = require('..')
const { ModesModel } = require('./support/modes-model')
const { ModesView, same } = require('./support/modes-view')
const { ChildParty, LocalParty } = require('./support/parties')
const { randomFrom, seeds } = require('./support/random')
const { SERVERS, startRedis } = require('./support/redis-server')
const { lossOf } = require('./support/scene')
const { until } = require('./support/until')

const timeout = Number.POSITIVE_INFINITY

// Random steps of lockers that take, wait for, give up and lose three resources in all modes, against a model that knows the order
// of arrival.
describe('in whichever modes resources are asked for, in whatever order', () => {
  const servers = {}

  beforeAll(async () => {
    for (const name of SERVERS) servers[name] = await startRedis({ name })
  })

  afterAll(() => Promise.all(Object.values(servers).map((server) => server.stop())))

  it.each(seeds(2))(
    'whose turn it is has it, and nobody else, in memory and on every server (seed %i)',
    async (seed) => {
      const expected = await play(seed, {})
      for (const name of SERVERS) {
        const seen = await play(seed, { server: servers[name] })
        expect({ name, seen }).toEqual({ name, seen: expected })
      }
    },
    120_000,
  )

  it.each(SERVERS.flatMap((name) => seeds(1).map((seed) => [name, seed])))(
    'the same goes where processes die (%s, seed %i)',
    (name, seed) => play(seed, { server: servers[name], dying: true }),
    60_000,
  )
})

/** For so long, in ms, the dead count as alive: longer than any step takes on a busy machine. */
const KEPT = 300_000

/**
 * Takes the steps of a seed, one after the other. What has come of them. Without a `server` it is in memory; `dying`: some of the
 * lockers are in processes of their own, which die.
 */
async function play(seed, { server, dying = false }) {
  const random = randomFrom(seed)
  const pick = (list) => list[Math.floor(random() * list.length)]
  const prefix = `${crypto.randomUUID()}:`
  const names = ['a', 'b', 'c']
  const model = new ModesModel(names)
  let opened = 0
  let asked = 0
  const driver = server ? 'redis' : 'memory'
  // Each has a connection of its own, as no two have the same options.
  const config = () => (server ? { port: server.port, retry_max_delay: 1000 + opened } : {})
  const spec = () => ({ driver, config: config(), settings: { prefix } })
  const watcher = lockFactory(spec())
  const view = new ModesView(model, watcher)
  let parties = []
  /** Those that wait or have not been given up, of parties that are there. */
  let calls = []
  const list = []
  const isLocal = ({ locker }) => locker !== undefined
  const key = (name) => prefix + lockFactory.hash(name)

  async function open(isChild) {
    const name = `locker ${++opened}`
    const party = isChild ? new ChildParty(name, spec()) : new LocalParty(name, lockFactory(spec()))
    await party.ready?.()
    const call = { id: ++asked, party, names: [name] }
    party.ask(call, 'lock', {})
    await until(() => call.outcome, `${name} has introduced itself`)
    party.clientId = (await watcher.inspect(name)).holders[0].clientId
    await party.unlock(call)
    parties.push(party)
  }

  function newCall(party, some, wish) {
    const id = ++asked
    const { mode = 'exclusive', limit = Infinity } = wish
    return { id, name: `call ${id}`, party, names: some, wish, mode, limit, renew: false, grants: new Map() }
  }

  const wishFor = () =>
    pick([{}, {}, { mode: 'shared' }, { mode: 'shared' }, { mode: 'shared', limit: pick([1, 2, 3]) }])
  const told = ({ name, party, names, wish }) =>
    `${name} of ${party.name} for ${names} ${JSON.stringify(wish)}`
  const several = () => {
    const left = [...names]
    const some = () => left.splice(Math.floor(random() * left.length), 1)
    return Array.from({ length: pick([1, 2, 2, 3]) }, some).flat()
  }
  const isWaiting = ({ state }) => state === 'waiting'
  const held = () => calls.filter(({ state }) => state === 'held')
  const waitsForMore = () => calls.find((call) => isWaiting(call) && call.names.length > 1)
  const isDoomed = () => calls.some((call) => model.isDoomed(call))

  /** A call that does not wait. */
  async function attempt(method, call) {
    const { party, wish } = call
    call.renew = random() < 0.2
    const inTheWay = model.take(call)
    const holders = inTheWay && model.of(inTheWay).holders.map(({ call }) => call.party.clientId)
    await party.ask(call, method, { ...wish, expire: 600, renew: call.renew })
    const { error } = call.outcome
    if (inTheWay === undefined) {
      calls.push(call)
      if (error) throw new Error(`${told(call)} was refused`, { cause: error })
      return `${told(call)}: granted`
    }
    if (method === 'tryLock') expect(error).toBe('null')
    else {
      expect(error).toMatchObject({ code: 'ERR_RESOURCE_LOCKED', resourceId: inTheWay, position: null })
      expect(holders).toContain(error.holder.clientId)
      const { count } = model.of(inTheWay)
      if (!Number.isNaN(count)) expect(error.details.numberOfLocks).toBe(count)
    }
    return `${told(call)}: ${inTheWay} is in the way`
  }

  function wait(call) {
    call.renew = random() < 0.2
    model.wait(call)
    calls.push(call)
    call.party.ask(call, 'lock', { ...call.wish, timeout, expire: 600, renew: call.renew })
    return `${told(call)}: ${call.state}`
  }

  /** Somebody comes for what has become free, and finds that others were first. */
  async function look(name) {
    const call = newCall(pick(parties.filter(isLocal)), [name], wishFor())
    const result = await attempt('tryLock', call)
    await view.check(calls)
    return result
  }

  const isGone = (name, tokens) => async () => {
    const found = await watcher.inspect(name)
    return !found?.holders.some(({ token }) => tokens.includes(token))
  }

  const steps = {
    lock: () => attempt('lock', newCall(pick(parties.filter(isLocal)), [pick(names)], wishFor())),
    tryLock: () => attempt('tryLock', newCall(pick(parties.filter(isLocal)), [pick(names)], wishFor())),
    lockSeveral: () => {
      const call = newCall(pick(parties.filter(isLocal)), several(), wishFor())
      return attempt(pick(['lock', 'tryLock']), { ...call, asArray: true })
    },
    wait: () => {
      // Processes do nothing else.
      const some = random() < 0.4 ? parties.filter((party) => !isLocal(party)) : parties
      return wait(newCall(pick(some) ?? pick(parties), [pick(names)], wishFor()))
    },
    waitForSeveral: () => {
      // Of two of them it is not known which is faster.
      if (waitsForMore()) return 'one is enough'
      return wait({ ...newCall(pick(parties.filter(isLocal)), several(), wishFor()), asArray: true })
    },
    async steal() {
      const call = newCall(pick(parties.filter(isLocal)), [pick(names)], { steal: true })
      model.steal(call)
      calls.push(call)
      await call.party.ask(call, pick(['lock', 'tryLock']), { steal: true, expire: 600 })
      return told(call)
    },
    async unlock() {
      const call = pick(held())
      if (!call) return 'nothing'
      const isHeld = ModesModel.held(call).length === call.names.length
      model.leave(call)
      calls = calls.filter((other) => other !== call)
      expect(await call.party.unlock(call)).toBe(isHeld)
      return `${call.name}: ${isHeld}`
    },
    async cancel() {
      const call = pick(calls.filter(isWaiting))
      if (!call) return 'nobody'
      model.leave(call)
      calls = calls.filter((other) => other !== call)
      call.abort()
      const { error } = await until(() => call.outcome, `${call.name} is cancelled`)
      expect(error.message ?? 'cancelled').toBe('cancelled')
      return call.name
    },
    async extend() {
      const call = pick(held().filter(({ party }) => isLocal(party)))
      if (!call) return 'nothing'
      const isHeld = ModesModel.held(call).length === call.names.length
      expect(await call.outcome.lock.extend(300)).toBe(isHeld)
      return `${call.name}: ${isHeld}`
    },
    async expire() {
      const isWhole = (call) => ModesModel.held(call).length === call.names.length
      const call = pick(held().filter((call) => isLocal(call.party) && !call.renew && isWhole(call)))
      // Whoever gives back what it was handed may be faster than whoever looks, or not.
      if (!call || isDoomed() || (call.names.length > 1 && waitsForMore())) return 'nothing'
      const { lock, tokens } = call.outcome
      const loss = lossOf(lock)
      await lock.extend(0.2)
      await loss
      for (const [name, token] of tokens) await until(isGone(name, [token]), `${call.name} has expired`)
      model.expire(...ModesModel.held(call))
      const seen = []
      for (const name of call.names) seen.push(await look(name))
      return `${call.name}, then ${seen}`
    },
    async forceUnlock() {
      const name = pick(names)
      const removed = model.remove(name)
      expect(await pick(parties.filter(isLocal)).locker.forceUnlock(name)).toBe(removed)
      return name
    },
    async purge() {
      // What comes while it runs may go as well.
      if (waitsForMore()) return 'somebody waits for more'
      model.remove(...names)
      await pick(parties.filter(isLocal)).locker.purge()
      return ''
    },
    async close() {
      // Of the dead, some are found out about and others are not, by the order in which the calls leave.
      if (model.waiting().some(({ party }) => party.isDead)) return 'not now'
      const party = pick(parties.filter(isLocal))
      const waiting = calls.filter((call) => isWaiting(call) && call.party === party)
      parties = parties.filter((other) => other !== party)
      calls = calls.filter((call) => call.party !== party)
      model.leave(...waiting)
      await party.locker.close()
      for (const call of waiting) {
        const { error } = await until(() => call.outcome, `${call.name} is sent away`)
        expect(error.code).toBe('ERR_CLOSED')
      }
      await open(false)
      return `${party.name} with ${waiting.map(({ name }) => name)}`
    },
    async query() {
      await view.query(pick(parties.filter(isLocal)).locker, parties)
      return ''
    },
    async inspect() {
      await view.introduced(parties)
      return ''
    },
  }

  const dyingSteps = {
    /** The process dies, and its leases end. Its calls are in the queue until their turn, and in the way of those behind them. */
    async kill() {
      if (isDoomed()) return 'not now'
      const processes = parties.filter((party) => !isLocal(party))
      const waits = ({ name }) => model.waiting().some(({ party }) => party.name === name)
      const party = pick(processes.filter(waits)) ?? pick(processes)
      await view.introduced(parties)
      await party.kill()
      const channel = `${prefix}client:${party.clientId}`
      await until(async () => (await server.call('PUBSUB', 'NUMSUB', channel))[1] === 0, 'it listens no more')
      parties = parties.filter((other) => other !== party)
      calls = calls.filter((call) => call.party !== party)
      await keepDead()
      const seen = []
      for (const name of names) {
        const grants = model.of(name).holders.filter(({ call }) => call.party === party)
        for (const grant of grants) await endLease(grant)
        const tokens = grants.map(({ token }) => token)
        await until(isGone(name, tokens), `leases of ${party.name} have ended`)
        model.expire(...grants)
        if (grants.length > 0) seen.push(await look(name))
      }
      await open(true)
      return `${party.name}, then ${seen}`
    },
    async forgetScripts() {
      await server.call('SCRIPT', 'FLUSH')
      return ''
    },
  }

  /** The dead that wait count as alive, however long it takes, until it is their turn. */
  async function keepDead() {
    if (!dying) return
    for (const name of names) {
      const clients = model.of(name).queue.flatMap(({ party }) => (party.isDead ? [party.clientId] : []))
      for (const client of new Set(clients)) {
        await server.call('HSET', `${key(name)}:clients`, client, Date.now() + KEPT)
        await server.call('HDEL', `${key(name)}:clients`, `granted:${client}`)
        const left = await server.call('PTTL', `${key(name)}:clients`)
        if (left < KEPT) await server.call('PEXPIRE', `${key(name)}:clients`, KEPT)
        await server.call('PEXPIRE', `${key(name)}:queue`, KEPT)
      }
    }
  }

  async function endLease({ name, token }) {
    const fields = await server.call('HGETALL', `${key(name)}:clients`)
    const record = Object.values(fields).find((value) => value.split(' ')[1]?.split('/')[0] === String(token))
    const nonce = record.split(' ')[0]
    const isOneOfMany = (await server.call('GET', key(name))).startsWith('9200')
    if (isOneOfMany) await server.call('ZADD', `${key(name)}:holders`, 'XX', 1, nonce)
    else await server.call('PEXPIRE', key(name), 1)
  }

  const often = ['lock', 'tryLock', 'wait', 'wait', 'wait', 'unlock', 'unlock', 'unlock', 'cancel']
  const all = dying ? { ...steps, ...dyingSteps } : steps
  const seldom = dying ? [...Object.keys(all), 'kill', 'kill'] : Object.keys(all)

  try {
    for (const isChild of [false, dying, dying, false]) await open(isChild)
    for (let step = 0; step < (dying ? 60 : 70); step++) {
      const name = random() < 0.55 ? pick(often) : pick(seldom)
      list.push(`${step} ${name}`)
      await keepDead()
      const result = await all[name]()
      list.push(result)
      await view.check(calls)
    }
    list.push('the end')
    await keepDead()
    for (const call of calls.filter(isWaiting)) {
      model.leave(call)
      call.abort()
    }
    calls = calls.filter(({ state }) => state === 'held')
    await view.check(calls)
    model.leave(...calls)
    await Promise.all(calls.map((call) => call.party.unlock(call)))
    // Of those that were closed.
    for (const name of names) expect(await watcher.forceUnlock(name)).toBe(model.remove(name))
    await view.check([])
    if (server) {
      await same(
        () => server.keys(`${prefix}*`),
        () => [`${prefix}fence`],
      )
    }
  } catch (error) {
    error.message += `\n${driver}, after: ${list.join('\n')}`
    throw error
  } finally {
    for (const party of parties) await (party.locker?.close() ?? party.kill())
    await watcher.close()
  }
  return list
}
