'use strict'

const { clusterScene } = require('../support/cluster-scene')
const { Load, sleep, Witness } = require('../support/load')
const { SERVERS } = require('../support/redis-server')
const { introduced } = require('../support/scene')
const { until } = require('../support/until')

const timeout = Number.POSITIVE_INFINITY

// Slots that move while locks in them are held, waited for and taken, without any node failing: nothing may be lost.
describe.each(SERVERS)('while a slot moves from one node of %s to another', (name) => {
  const scene = clusterScene({ name, replicas: 0 })
  const { newLocker, newLockers, namesInSlot, namesOn, nodeOf, slot } = scene

  /** The primary of a resource, and another one. */
  const ends = async (resource) => {
    const from = await nodeOf(resource)
    const primaries = await scene.cluster.primaries()
    return { from, to: primaries.map(({ node }) => node).find((node) => node !== from) }
  }

  /** Locks of a resource that are held and waited for: `finish` unlocks, and has the turns of all others. */
  const queueAt = async (resource, witness) => {
    const [holder, ...others] = newLockers(4)
    const held = witness.enter(await holder.lock(resource, { renew: true, expire: 3 }))
    const order = []
    const calls = []
    for (const [index, locker] of [...others, ...others].entries()) {
      const call = locker.lock(resource, { timeout }).then(async (lock) => {
        order.push(index)
        expect(await witness.unlock(witness.enter(lock))).toBe(true)
      })
      calls.push(call)
      await scene.waiting(resource, index + 1)
    }
    await introduced(holder, resource)
    return {
      held,
      async finish() {
        expect(held.signal.aborted).toBe(false)
        expect(held.held).toBe(true)
        expect(await witness.unlock(held)).toBe(true)
        const begin = performance.now()
        await Promise.all(calls)
        expect(order).toEqual(calls.map((_, index) => index))
        return performance.now() - begin
      },
    }
  }

  const moves = { 'key by key': 'moveSlot' }
  if (name === 'valkey-9.1') moves['at once'] = 'moveAtOnce'

  it.each(Object.keys(moves))('%s, nothing is lost, nobody is let in twice, no call fails', async (how) => {
    const witness = new Witness()
    const [resource] = namesInSlot(slot('a resource'), 1)
    const beside = namesInSlot(slot(resource), 4)
      .filter((name) => name !== resource)
      .slice(0, 3)
    const { from, to } = await ends(resource)
    const queue = await queueAt(resource, witness)
    const load = new Load({ witness }).addAll(newLockers(3), beside)
    const elsewhere = new Load({ witness }).addAll(newLockers(1), await namesOn(from, 3))
    await until(() => load.least > 5, 'all have had some')
    for (let round = 0; round < 4; round++) {
      await scene.cluster[moves[how]](slot(resource), round % 2 ? from : to)
      const grants = load.least
      await until(() => load.least > grants + 3, 'it goes on')
    }
    await load.stop()
    await elsewhere.stop()
    expect(await queue.finish()).toBeLessThan(5000)
    expect(witness.faults).toEqual([])
    expect(load.longest).toBeLessThan(5000)
    expect(elsewhere.longest).toBeLessThan(1000)
  })

  it('key by key and hangs half way, calls that can go on do, and the others when it ends', async () => {
    const witness = new Witness()
    const [resource, free] = namesInSlot(slot('a resource'), 2)
    const { from, to } = await ends(resource)
    const queue = await queueAt(resource, witness)
    await scene.cluster.beginMove(slot(resource), to, 2)
    const elsewhere = new Load({ witness })
    for (const node of [from, to]) elsewhere.addAll(newLockers(1), await namesOn(node, 2))
    const locker = newLocker({ settings: { commandTimeout: 20_000 } })
    const [waits, takes] = [locker.lock(resource, { timeout, expire: 5 }), locker.lock(free, { timeout })]
    await sleep(1500)
    await elsewhere.stop()
    expect(elsewhere.longest).toBeLessThan(1000)
    expect(queue.held.held).toBe(true)
    await scene.cluster.endMove(slot(resource), to)
    expect(await witness.unlock(witness.enter(await takes))).toBe(true)
    await scene.waiting(resource, 7)
    expect(await queue.finish()).toBeLessThan(5000)
    expect(await witness.unlock(witness.enter(await waits))).toBe(true)
    expect(witness.faults).toEqual([])
  })

  it('and its keys are all there but not the slot, what asks for one key is answered', async () => {
    const [locker, other] = newLockers(2)
    const [resource, free] = namesInSlot(slot('a resource'), 2)
    const { to } = await ends(resource)
    const lock = await locker.lock(resource)
    const asked = await to.server.commandCount('asking')
    await scene.cluster.beginMove(slot(resource), to, 100)
    const begin = performance.now()
    expect(await other.isLocked(resource)).toBe(true)
    expect(await other.isLocked(free)).toBe(false)
    expect(performance.now() - begin).toBeLessThan(1000)
    expect(await to.server.commandCount('asking')).toBeGreaterThan(asked)
    await scene.cluster.endMove(slot(resource), to)
    expect(lock.held).toBe(true)
    expect(await lock.unlock()).toBe(true)
    expect(await other.isLocked(resource)).toBe(false)
  })

  it('where others wait for news, each call under way gets its own answer', async () => {
    const [locker, waiter] = [newLocker(), newLocker()]
    const [resource] = namesInSlot(slot('a resource'), 1)
    const { from, to } = await ends(resource)
    const names = await namesOn(from, 33)
    const asked = names.filter((name) => slot(name) !== slot(resource)).slice(0, 32)
    const isHeld = (index) => index % 3 === 0
    await Promise.all(asked.filter((_, index) => isHeld(index)).map((name) => locker.lock(name)))
    const held = await newLockers(1)[0].lock(resource)
    const next = waiter.lock(resource, { timeout })
    await scene.waiting(resource, 1)
    let rounds = 0
    let moving = true
    const asking = (async () => {
      for (; moving; rounds++) {
        const answers = await Promise.all(asked.map((name) => waiter.isLocked(name)))
        expect(answers).toEqual(asked.map((_, index) => isHeld(index)))
      }
    })()
    await until(() => rounds > 3)
    for (const node of [to, from, to]) {
      await scene.cluster.moveSlot(slot(resource), node)
      const before = rounds
      await until(() => rounds > before + 3)
    }
    moving = false
    await asking
    expect(await held.unlock()).toBe(true)
    expect(await (await next).unlock()).toBe(true)
  })

  it('which it learns of at the first call, all calls from then on go there at once', async () => {
    const locker = newLocker()
    const [resource] = namesInSlot(slot('a resource'), 1)
    const { from, to } = await ends(resource)
    await (await locker.lock(resource)).unlock()
    await scene.cluster.moveSlot(slot(resource), to)
    await (await locker.lock(resource)).unlock()
    const moved = async () =>
      (await from.call('INFO', 'errorstats')).match(/errorstat_MOVED:count=(\d+)/)?.[1]
    const before = await moved()
    for (let round = 0; round < 20; round++) await (await locker.lock(resource)).unlock()
    expect(await moved()).toBe(before)
  })

  it('readers of one name that call in one turn go with it, each with a lock of its own', async () => {
    const locker = newLocker()
    const [resource] = namesInSlot(slot('a resource'), 1)
    const { to } = await ends(resource)
    const readers = () =>
      Promise.all(Array.from({ length: 30 }, () => locker.lock(resource, { mode: 'shared' })))
    const locks = await readers()
    await scene.cluster.moveSlot(slot(resource), to)
    locks.push(...(await readers()))
    expect(new Set(locks.map((lock) => lock.token)).size).toBe(60)
    expect((await locker.inspect(resource)).holders).toHaveLength(60)
    expect(await Promise.all(locks.map((lock) => lock.unlock()))).not.toContain(false)
    expect(await locker.isLocked(resource)).toBe(false)
  })
})

describe('a node that is added', () => {
  const scene = clusterScene({ replicas: 0 })

  it('gets slots, with their locks, and serves them', async () => {
    const lockers = scene.newLockers(3)
    const names = Array.from({ length: 8 }, (_, index) => `resource ${index}`)
    const load = new Load().addAll(lockers, names)
    const held = await scene.newLocker().lock('held', { renew: true, expire: 3 })
    const added = await scene.cluster.addPrimary()
    for (const slot of new Set(['held', ...names].map(scene.slot))) await scene.cluster.moveSlot(slot, added)
    const served = async () => {
      const evals = await added.server.commandCount('evalsha')
      return evals > 0 && (await added.server.keys(`${scene.prefix}*`)).length > names.length
    }
    await until(served, 'it serves')
    const grants = load.least
    await until(() => load.least > grants + 10, 'it goes on')
    const { faults, longest } = await load.stop()
    expect(faults).toEqual([])
    expect(longest).toBeLessThan(5000)
    expect(held.held).toBe(true)
    expect(await held.unlock()).toBe(true)
  })
})
