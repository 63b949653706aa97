'use strict'

const crypto = require('node:crypto')
const lockFactory = require('..')
const { ModesModel } = require('./support/modes-model')
const { randomFrom, seeds } = require('./support/random')
const { SERVERS, startRedis } = require('./support/redis-server')
const { until } = require('./support/until')

const timeout = Number.POSITIVE_INFINITY

// Turns of many random calls, of which those about the same lock leave together, against a model that takes one after the other.
describe.each(SERVERS)('whatever is called in one turn (%s)', (name) => {
  let server

  beforeAll(async () => {
    server = await startRedis({ name })
  })

  afterAll(() => server.stop())

  it.each(seeds(3))(
    'has come in the order of the calls, whoever calls over the same connection (seed %i)',
    (seed) => play(seed, server),
    60_000,
  )
})

async function play(seed, server) {
  const random = randomFrom(seed)
  const pick = (list) => list[Math.floor(random() * list.length)]
  const prefix = `${crypto.randomUUID()}:`
  const names = ['a', 'b', 'c']
  const model = new ModesModel(names)
  const spec = { driver: 'redis', config: { port: server.port }, settings: { prefix } }
  const lockers = [1, 2, 3].map(() => lockFactory(spec))
  const list = []
  let calls = []

  /** From here on for a second all of them ask for the resource by scripts, which arrive as they are called. */
  async function probe() {
    for (const locker of lockers) {
      for (const name of names) {
        const locks = await Promise.all([1, 2].map(() => locker.tryLock(name, { mode: 'shared' })))
        await Promise.all(locks.map((lock) => lock?.unlock()))
      }
    }
  }

  function newCall() {
    const wish = pick([{}, ...Array(5).fill({ mode: 'shared' }), { mode: 'shared', limit: pick([3, 12]) }])
    const { mode = 'exclusive', limit = Infinity } = wish
    const party = { locker: pick(lockers) }
    const call = { party, names: [pick(names)], wish, mode, limit, grants: new Map() }
    calls.push(call)
    return call
  }

  async function tell(call, promise) {
    call.lock = await promise
    call.isAnswered = true
  }

  const steps = {
    tryLock() {
      const call = newCall()
      model.take(call)
      return tell(call, call.party.locker.tryLock(call.names[0], call.wish))
    },
    wait() {
      const call = newCall()
      model.wait(call)
      tell(call, call.party.locker.lock(call.names[0], { ...call.wish, timeout })).catch((error) => {
        call.error = error
      })
    },
    async unlock() {
      const call = pick(calls.filter(({ state, lock, isLeft }) => state === 'held' && lock && !isLeft))
      if (!call) return
      call.isLeft = true
      model.leave(call)
      expect(await call.lock.unlock()).toBe(true)
    },
  }

  async function check() {
    const isAsItShouldBe = ({ state, isLeft, isAnswered, lock, error }) => {
      if (error) throw error
      if (isLeft) return true
      if (state === 'held') return lock
      return state === 'waiting' ? !isAnswered : isAnswered && lock === null
    }
    await until(() => calls.every(isAsItShouldBe), 'each call has what it is to have')
    for (const name of names) {
      const { holders, queue } = model.of(name)
      const found = await lockers[0].inspect(name)
      expect(found?.holders.length ?? 0).toBe(holders.length)
      expect(found?.waiters.length ?? 0).toBe(queue.length)
    }
    expect(calls.every(isAsItShouldBe)).toBe(true)
    calls = calls.filter(({ state }) => state === 'held' || state === 'waiting')
  }

  try {
    await Promise.all(lockers.map((locker) => locker.isLocked('warm-up')))
    for (let turn = 0; turn < 25; turn++) {
      await probe()
      const weights = pick([
        ['tryLock', 'tryLock', 'wait', 'unlock'],
        ['wait', 'wait', 'unlock', 'unlock'],
        ['unlock'],
      ])
      const chosen = Array.from({ length: 1 + Math.floor(random() * 60) }, () => pick(weights))
      list.push(`${turn}: ${chosen}`)
      await Promise.all(chosen.map((step) => steps[step]()))
      await check()
    }
    list.push('the end')
    while (calls.length > 0) {
      await Promise.all(calls.map(() => steps.unlock()))
      await check()
    }
    await until(async () => (await server.keys(`${prefix}*`)).length === 1, 'only the register is left')
  } catch (error) {
    error.message += `\nafter: ${list.join('\n')}`
    throw error
  } finally {
    await Promise.all(lockers.map((locker) => locker.close()))
  }
}
