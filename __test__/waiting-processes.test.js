'use strict'

const { kill, resume, runLocker, stop } = require('./support/child')
const { redisScene } = require('./support/scene')
const { until } = require('./support/until')

// Several processes in one queue; and what becomes of those that are killed, stopped or busy.
describe('processes that wait for one lock', () => {
  const scene = redisScene()
  const { newLocker, waiting, key, keys, recordOf } = scene
  const running = []

  afterEach(() => {
    for (const { child } of running.splice(0)) kill(child)
  })

  async function start(count) {
    const lockers = Array.from({ length: count }, () => runLocker(scene.spec()))
    running.push(...lockers)
    await until(() => lockers.every(({ heard }) => heard.includes('ready')), 'the processes run')
    return lockers
  }

  /** What the calls of these processes have come to. */
  const granted = (lockers) => lockers.flatMap(({ heard }) => heard.filter(({ token }) => token))
  const find = ({ heard }, id, field) => heard.find((message) => message.id === id && field in message)

  it('get it in order of arrival', async () => {
    const lockers = await start(3)
    const first = await newLocker().lock('resource')
    for (let id = 0; id < 30; id++) {
      lockers[(id * 5) % 3].send({ id, call: 'lock', resource: 'resource' })
      await waiting('resource', id + 1)
    }
    await first.unlock()
    for (let turn = 0; turn < 30; turn++) {
      const locker = lockers[(turn * 5) % 3]
      await until(() => find(locker, turn, 'token'), `call ${turn} has its turn`)
      // Nobody else has.
      expect(granted(lockers)).toHaveLength(turn + 1)
      locker.send({ id: turn, call: 'unlock' })
    }
    await until(async () => (await keys()).length === 1)
    const tokens = granted(lockers).map(({ id, token }) => [id, token])
    const inOrder = tokens.toSorted(([a], [b]) => a - b).map(([, token]) => token)
    expect(inOrder).toEqual(inOrder.toSorted((a, b) => a - b))
  })

  it('get it in order of arrival, and one at a time, while all of them are busy', async () => {
    const lockers = await start(3)
    const first = await newLocker().lock('resource')
    for (let id = 0; id < 18; id++) {
      lockers[id % 3].send({ id, call: 'lock', resource: 'resource' })
      await waiting('resource', id + 1)
    }
    // From here on each of them blocks its event loop over and over again.
    for (const locker of lockers) {
      for (let round = 0; round < 30; round++) locker.send({ call: 'block', options: { ms: 20 } })
    }
    await first.unlock()
    for (let turn = 0; turn < 18; turn++) {
      await until(() => find(lockers[turn % 3], turn, 'token'), `call ${turn} has its turn`)
      expect(granted(lockers)).toHaveLength(turn + 1)
      lockers[turn % 3].send({ id: turn, call: 'unlock' })
      await until(() => find(lockers[turn % 3], turn, 'unlocked'))
      expect(find(lockers[turn % 3], turn, 'unlocked').unlocked).toBe(true)
    }
  })

  it.each([
    ['head', 0],
    ['middle', 1],
    ['tail', 2],
    ['head, while somebody listens to all channels', 0],
  ])('skip at once one that was killed at the %s', async (where, place) => {
    const monitor = scene.server.client()
    if (where.includes('listens')) await new Promise((resolve) => monitor.psubscribe('*', resolve))
    const lockers = await start(3)
    const first = await newLocker().lock('resource')
    // Three calls of each process, one behind the other.
    for (let id = 0; id < 9; id++) {
      lockers[Math.floor(id / 3)].send({ id, call: 'lock', resource: 'resource' })
      await waiting('resource', id + 1)
    }
    const { child, ended } = lockers[place]
    kill(child)
    await ended
    const begin = performance.now()
    await first.unlock()
    for (let id = 0; id < 9; id++) {
      const locker = lockers[Math.floor(id / 3)]
      if (locker === lockers[place]) continue
      await until(() => find(locker, id, 'token'), `call ${id} has its turn`)
      locker.send({ id, call: 'unlock' })
    }
    // Long before anybody would have polled, or a lease that nobody has taken would have ended.
    expect(performance.now() - begin).toBeLessThan(2000)
    monitor.end(false)
    await until(async () => (await keys()).length === 1, 'nothing is left')
  })

  it('get it when its holder has been killed and the lease has ended', async () => {
    const [holder, waiter] = await start(2)
    holder.send({ id: 1, call: 'lock', resource: 'resource', options: { expire: 1, renew: true } })
    await until(() => find(holder, 1, 'token'))
    waiter.send({ id: 2, call: 'lock', resource: 'resource' })
    await waiting('resource', 1)
    kill(holder.child)
    await until(() => find(waiter, 2, 'token'), 'the next one has its turn')
  })

  // Its first lease, which is no longer than the grace period, and how many calls it has: of short leases, too many to
  // wait for the end of each.
  it.each([
    [60, 5000, 3],
    [1, 1000, 9],
  ])(
    'pass over one that is stopped (leases of %p s), after one of these, and it comes back to its place',
    async (expire, firstLease, count) => {
      const [stopped, next] = await start(2)
      const first = await newLocker().lock('resource')
      for (let id = 0; id < count; id++) {
        stopped.send({ id, call: 'lock', resource: 'resource', options: { expire } })
        await waiting('resource', id + 1)
      }
      for (let id = count; id < count + 2; id++) {
        next.send({ id, call: 'lock', resource: 'resource' })
        await waiting('resource', id + 1)
      }
      await stop(stopped.child)
      const begin = performance.now()
      await first.unlock()
      await until(() => find(next, count, 'token'), 'the next process has its turn')
      const took = performance.now() - begin
      // Somebody has to notice, which takes up to five seconds.
      expect(took).toBeGreaterThan(firstLease * 0.6)
      expect(took).toBeLessThan(8500)
      resume(stopped.child)
      // Nothing is taken for granted that was granted in the meantime.
      await waiting('resource', count + 1)
      expect(granted([stopped])).toEqual([])
      next.send({ id: count, call: 'unlock' })
      for (let id = 0; id < count; id++) {
        await until(() => find(stopped, id, 'token'), `call ${id} has its turn`)
        stopped.send({ id, call: 'unlock' })
      }
      await until(() => find(next, count + 1, 'token'), 'the last one has its turn')
      next.send({ id: count + 1, call: 'unlock' })
      await until(async () => (await keys()).length === 1, 'nothing is left')
    },
  )

  it.each([
    ['middle', 1],
    ['tail', 2],
  ])('have their turns before and after one that is stopped at the %s', async (_, place) => {
    const lockers = await start(3)
    const first = await newLocker().lock('resource')
    for (const [id, locker] of lockers.entries()) {
      locker.send({ id, call: 'lock', resource: 'resource' })
      await waiting('resource', id + 1)
    }
    const stopped = lockers[place]
    await stop(stopped.child)
    const begin = performance.now()
    await first.unlock()
    for (const [id, locker] of lockers.entries()) {
      if (locker === stopped) continue
      await until(() => find(locker, id, 'token'), `call ${id} has its turn`)
      expect(granted([stopped])).toEqual([])
      locker.send({ id, call: 'unlock' })
      await until(() => find(locker, id, 'unlocked'))
    }
    expect(performance.now() - begin).toBeLessThan(8500)
    // What was granted to it is over by then, or is not.
    resume(stopped.child)
    await until(() => find(stopped, place, 'token'), 'the stopped one has its turn')
    stopped.send({ id: place, call: 'held' })
    expect((await until(() => find(stopped, place, 'held'))).held).toBe(true)
    stopped.send({ id: place, call: 'unlock' })
    await until(async () => (await keys()).length === 1, 'nothing is left')
  })

  it('pass over one that is stopped, after one grace period, also if nobody was behind it at first', async () => {
    const [stopped, next] = await start(2)
    const first = await newLocker().lock('resource')
    stopped.send({ id: 0, call: 'lock', resource: 'resource' })
    await waiting('resource', 1)
    // Its locker goes on: what is stopped is what takes the grant.
    await stop(stopped.child)
    await first.unlock()
    const begin = performance.now()
    // Another call of the same client, which it has sent before it was stopped.
    const member = await recordOf('resource')
    const [, token, ...part] = member.split(' ')
    const { clientId } = (await newLocker().inspect('resource')).holders[0]
    await scene.server.call(
      'ZADD',
      `${key('resource')}:queue`,
      token,
      `9199999000000 60000 ${part.join(' ')}`,
    )
    await scene.server.call('HSET', `${key('resource')}:clients`, clientId, Date.now() + 15_000)
    next.send({ id: 1, call: 'lock', resource: 'resource' })
    await waiting('resource', 2)
    await until(() => find(next, 1, 'token'), 'the next process has its turn')
    expect(performance.now() - begin).toBeLessThan(8500)
    resume(stopped.child)
    next.send({ id: 1, call: 'unlock' })
    await until(() => find(stopped, 0, 'token'))
    stopped.send({ id: 0, call: 'unlock' })
    await until(async () => (await keys()).length === 1, 'nothing is left')
  })

  it('know how old a grant is that they read late', async () => {
    const [stopped] = await start(1)
    const first = await newLocker().lock('resource')
    stopped.send({ id: 1, call: 'lock', resource: 'resource', options: { expire: 2 } })
    await waiting('resource', 1)
    await stop(stopped.child)
    await first.unlock()
    await until(async () => !(await scene.exists('resource')), 'the lease of its grant has ended')
    const other = await newLocker().lock('resource')
    resume(stopped.child)
    // It finds out that the grant is of no use any more, and waits again.
    await waiting('resource', 1)
    expect(granted([stopped])).toEqual([])
    await other.unlock()
    await until(() => find(stopped, 1, 'token'))
    expect(find(stopped, 1, 'token').token).toBeGreaterThan(other.token)
    stopped.send({ id: 1, call: 'held' })
    expect((await until(() => find(stopped, 1, 'held'))).held).toBe(true)
  })

  it('leave nothing when all of them have died', async () => {
    const lockers = await start(2)
    for (const [id, locker] of lockers.entries()) {
      locker.send({ id, call: 'lock', resource: 'resource', options: { expire: 1 } })
      await until(async () => (await keys()).length > id + 2)
      locker.send({ id: id + 2, call: 'lock', resource: 'resource' })
    }
    await waiting('resource', 3)
    for (const { child } of lockers) kill(child)
    // The queue is kept for as long as those in it may be alive.
    const end = Date.now() + 20_000
    while ((await keys()).length > 1 && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    expect(await keys()).toEqual([`${scene.prefix}fence`])
  })
})
