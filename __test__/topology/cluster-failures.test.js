'use strict'

const { kill, resume, runLocker, stop } = require('../support/child')
const { clusterScene } = require('../support/cluster-scene')
const { Load, sleep, Witness } = require('../support/load')
const { SERVERS } = require('../support/redis-server')
const { introduced, lossOf } = require('../support/scene')
const { until } = require('../support/until')

const timeout = Number.POSITIVE_INFINITY

/** After how many ms a node that is silent is failing, and by when its replica has taken over and everybody knows. */
const nodeTimeout = 1500
const takeover = 8000
/** What is not concerned is answered as fast as ever, on a machine that has much else to do. */
const atOnce = 400

/** A cluster whose primaries are to be lost, and what is done with them. `name`: of the server. */
function failureScene(name) {
  const scene = clusterScene({ name, nodeTimeout, fullCoverage: false })
  const { nodeOf, namesOn, newLockers } = scene

  /** Somebody holds a resource, and so many wait for it, each with a connection of its own. Their turns are in `order`. */
  const queueAt = async (resource, count, witness) => {
    const [holder, ...others] = newLockers(1 + count)
    const held = witness.enter(await holder.lock(resource, { renew: true, expire: 30 }))
    await introduced(holder, resource)
    const order = []
    const calls = []
    for (const [index, locker] of others.entries()) {
      calls.push(
        locker.lock(resource, { timeout }).then(async (lock) => {
          witness.enter(lock)
          order.push(index)
          await sleep(5)
          expect(await witness.unlock(lock)).toBe(true)
        }),
      )
      await scene.waiting(resource, index + 1)
    }
    return { held, order, calls, others }
  }

  /** All of these lockers find out who serves a resource. */
  const findPrimary = (lockers, resource) =>
    Promise.all(lockers.map(async (locker) => (await locker.lock(resource, { timeout })).unlock()))

  /** A primary to lose and its replica, and names of resources there and at the other primaries. */
  const toLose = async () => {
    const { node, replica } = await scene.cluster.primaryToLose()
    const others = (await scene.cluster.primaries()).filter((primary) => primary.node !== node)
    const beside = await Promise.all(others.map((other) => namesOn(other.node, 3)))
    return { node, replica, names: await namesOn(node, 4), beside: beside.flat() }
  }

  /** Waits until the replicas have all that is written up to now. */
  const replicated = async (node) => {
    expect(await node.call('WAIT', 1, 10_000)).toBeGreaterThanOrEqual(1)
  }

  /** Waits until a replica of a primary that is away has taken over, and the other nodes know. */
  const takenOver = (resource, node) =>
    until(async () => {
      const now = await nodeOf(resource)
      return now && now !== node
    }, 'the replica takes over')

  return {
    scene,
    newLocker: scene.newLocker,
    newLockers,
    queueAt,
    findPrimary,
    toLose,
    replicated,
    takenOver,
  }
}

// Primaries whose replicas take over, with and without being asked to. With full coverage required, as it is unless the
// cluster is told otherwise, all nodes refuse to serve until they have.
describe.each(SERVERS)('where a primary of %s is replaced', (name) => {
  const { scene, newLocker, newLockers, toLose, replicated, takenOver, queueAt, findPrimary } =
    failureScene(name)

  it('by CLUSTER FAILOVER, and back, under load: nobody is let in twice, nothing is lost, no call fails', async () => {
    const { node, replica, names, beside } = await toLose()
    const load = new Load().addAll(newLockers(3), names)
    const elsewhere = new Load().addAll(newLockers(1), beside)
    await until(() => load.least > 10, 'all have had some')
    for (const next of [replica, node]) {
      const grants = load.least
      await scene.cluster.failOver(next)
      await until(() => load.least > grants + 5, 'it goes on')
      await scene.cluster.ready()
    }
    await load.stop()
    await elsewhere.stop()
    expect([...load.faults, ...elsewhere.faults]).toEqual([])
    expect(load.longest).toBeLessThan(takeover)
    expect(elsewhere.longest).toBeLessThan(1000)
  })

  it('as it was killed, holders hold, whoever waits is served in order, and others notice nothing', async () => {
    const witness = new Witness()
    const { node, names, beside } = await toLose()
    const { held, order, calls, others } = await queueAt(names[2], 3, witness)
    const short = await newLocker().lock(names[0], { expire: 60 })
    await introduced(newLocker(), names[0])
    await replicated(node)
    const elsewhere = new Load({ hold: 0 }).addAll(newLockers(2), beside)
    await until(() => elsewhere.least > 10, 'the others have begun')
    await node.kill()
    const begin = performance.now()
    const taking = newLocker().lock(names[1], { timeout })
    // Whom the new primary cannot tell is passed over.
    await findPrimary(others, names[3])
    expect(await (await taking).unlock()).toBe(true)
    expect(await witness.unlock(held)).toBe(true)
    await Promise.all(calls)
    expect(performance.now() - begin).toBeLessThan(takeover + 5000)
    await elsewhere.stop()
    expect(order).toEqual([0, 1, 2])
    expect([...witness.faults, ...elsewhere.faults]).toEqual([])
    expect(elsewhere.longest).toBeLessThan(atOnce)
    expect(short.held).toBe(true)
    expect(await short.unlock()).toBe(true)
  })

  it('as it stands still, what it grants when it goes on counts for nothing', async () => {
    const { node, names } = await toLose()
    const [resource, warm] = names
    const late = runLocker(scene.spec())
    const answer = (id, field) => late.heard.find((message) => message.id === id && field in message)
    late.send({ id: 1, call: 'lock', resource: warm })
    await until(() => answer(1, 'token'), 'it is connected')
    late.send({ id: 1, call: 'unlock' })
    await until(() => answer(1, 'unlocked'), 'nothing is under way')
    await replicated(node)
    await node.freeze()
    late.send({ id: 2, call: 'lock', resource })
    // By then it has been sent, and waits in a socket.
    await sleep(300)
    await stop(late.child)
    await takenOver(resource, node)
    const lock = await newLocker().lock(resource, { expire: 60 })
    node.thaw()
    await until(async () => !(await node.isPrimary()), 'the old primary knows')
    resume(late.child)
    await scene.waiting(resource, 1)
    expect(answer(2, 'token')).toBeUndefined()
    expect(await lock.unlock()).toBe(true)
    const { token } = await until(() => answer(2, 'token'), 'it has its turn')
    expect(token).toBeGreaterThan(lock.token)
    late.send({ id: 2, call: 'unlock' })
    expect((await until(() => answer(2, 'unlocked'))).unlocked).toBe(true)
    kill(late.child)
    await late.ended
  })
})

describe('where a primary is replaced', () => {
  const { scene, newLockers, toLose, replicated, takenOver, queueAt, findPrimary } = failureScene(SERVERS[0])

  it.each([true, false])(
    'by CLUSTER FAILOVER, holders hold, and whoever waits is served, in order where all know of it (%p)',
    async (allKnow) => {
      const witness = new Witness()
      const { replica, names } = await toLose()
      const { held, order, calls, others } = await queueAt(names[0], 5, witness)
      await scene.cluster.failOver(replica)
      if (allKnow) await findPrimary(others, names[1])
      const begin = performance.now()
      expect(await witness.unlock(held)).toBe(true)
      await Promise.all(calls)
      // Whom nobody could tell asks after 5 s at the latest.
      expect(performance.now() - begin).toBeLessThan(allKnow ? 2000 : 8000)
      expect(allKnow ? order : order.toSorted()).toEqual([0, 1, 2, 3, 4])
      expect(witness.faults).toEqual([])
      expect(held.signal.aborted).toBe(false)
    },
  )

  it('as it was killed with what it had told nobody, holders are told, and whoever comes next is let in', async () => {
    const witness = new Witness()
    const { node, replica, names } = await toLose()
    const [kept, lost] = names
    const [holder, next] = newLockers(2)
    const first = witness.enter(await holder.lock(kept, { expire: 60 }))
    await replicated(node)
    // It hears nothing any more, and cannot ask again.
    await replica.freeze()
    await node.call('CLIENT', 'KILL', 'TYPE', 'replica')
    const second = witness.enter(await holder.lock(lost, { expire: 60 }))
    const loss = lossOf(second)
    await node.kill()
    replica.thaw()
    const begin = performance.now()
    expect(await loss).toMatchObject({ code: 'ERR_LOCK_LOST', reason: 'purged' })
    expect(performance.now() - begin).toBeLessThan(takeover + 5000)
    expect(second.held).toBe(false)
    const again = witness.enter(await next.lock(lost, { timeout }))
    expect(again.token).toBeGreaterThan(second.token)
    expect(first.held).toBe(true)
    expect(await next.tryLock(kept)).toBeNull()
    expect(await second.unlock()).toBe(false)
    expect(await witness.unlock(again)).toBe(true)
    expect(await witness.unlock(first)).toBe(true)
    expect(witness.faults).toEqual([])
  })

  it('as it stands still, others notice nothing; it comes back, and nobody is let in twice', async () => {
    const witness = new Witness()
    const { node, names, beside } = await toLose()
    const load = new Load({ witness }).addAll(newLockers(3), names)
    const elsewhere = new Load({ hold: 0 }).addAll(newLockers(2), beside)
    await until(() => load.least > 10 && elsewhere.least > 10, 'all have begun')
    await node.freeze()
    await takenOver(names[0], node)
    const grants = load.least
    await until(() => load.least > grants + 5, 'it goes on')
    node.thaw()
    const after = load.least
    await until(() => load.least > after + 20, 'it goes on')
    await until(async () => !(await node.isPrimary()), 'the old primary knows')
    await load.stop()
    await elsewhere.stop()
    expect([...load.faults, ...elsewhere.faults]).toEqual([])
    expect(elsewhere.longest).toBeLessThan(atOnce)
    expect(load.longest).toBeLessThan(takeover + 5000)
  })
})

describe('where a primary comes back at once, with nothing', () => {
  const scene = clusterScene({ nodeTimeout: 15_000 })

  it('holders are told, whoever waits is served, and tokens go on', async () => {
    const witness = new Witness()
    const [holder, waiter] = scene.newLockers(2)
    const node = await scene.nodeOf('resource')
    const held = witness.enter(await holder.lock('resource', { expire: 60 }))
    const loss = lossOf(held)
    const call = waiter.lock('resource', { timeout })
    await scene.waiting('resource', 1)
    await node.kill()
    await node.restart()
    const begin = performance.now()
    expect(await loss).toMatchObject({ reason: expect.stringMatching(/purged|stolen/) })
    const next = await call
    expect(performance.now() - begin).toBeLessThan(8000)
    expect(next.token).toBeGreaterThan(held.token)
    expect(await held.unlock()).toBe(false)
    expect(await next.unlock()).toBe(true)
  })
})

describe('where a node stands still for a moment', () => {
  const scene = clusterScene({ replicas: 0, nodeTimeout: 15_000 })
  const { newLocker, nodeOf, namesOn } = scene

  /** The connections of lockers at a node. */
  const connectionsAt = async (node) => {
    const list = await node.call('CLIENT', 'LIST')
    return (list.match(/id=\d+ addr=\S+ .*name=lock-inc:/g) ?? []).map((line) => line.match(/id=(\d+)/)[1])
  }

  it('what is called of others is answered meanwhile, over their connections of before', async () => {
    const node = await nodeOf('resource')
    const others = scene.cluster.nodes.filter((other) => other !== node)
    const locker = newLocker()
    const [here] = await namesOn(node, 1)
    const names = await Promise.all(others.map(async (other) => (await namesOn(other, 1))[0]))
    for (const name of [here, ...names]) await (await locker.lock(name)).unlock()
    const before = await Promise.all(others.map(connectionsAt))
    expect(before.every((ids) => ids.length > 0)).toBe(true)
    await node.freeze()
    let answered = false
    const pending = locker.lock(here).then((lock) => {
      answered = true
      return lock
    })
    let longest = 0
    for (const end = performance.now() + 2500; performance.now() < end; ) {
      const begin = performance.now()
      const locks = await Promise.all(names.map((name) => locker.lock(name)))
      await Promise.all(locks.map((lock) => lock.unlock()))
      longest = Math.max(longest, performance.now() - begin)
    }
    expect(answered).toBe(false)
    expect(longest).toBeLessThan(atOnce)
    node.thaw()
    const thawed = performance.now()
    expect(await (await pending).unlock()).toBe(true)
    expect(performance.now() - thawed).toBeLessThan(3000)
    expect(await Promise.all(others.map(connectionsAt))).toEqual(before)
  })

  it('a call of several names waits for it, and the rest of the locker does not', async () => {
    const node = await nodeOf('resource')
    const other = scene.cluster.nodes.find((other) => other !== node)
    const locker = newLocker()
    const names = [...(await namesOn(node, 1)), ...(await namesOn(other, 2))]
    for (const name of names) await (await locker.lock(name)).unlock()
    await node.freeze()
    const all = locker.lock(names.slice(0, 2), { timeout })
    const begin = performance.now()
    expect(await (await locker.lock(names[2])).unlock()).toBe(true)
    expect(performance.now() - begin).toBeLessThan(atOnce)
    node.thaw()
    const lock = await all
    expect(lock.tokens.size).toBe(2)
    expect(await lock.unlock()).toBe(true)
  })
})
