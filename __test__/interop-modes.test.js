'use strict'

const { oldLocker } = require('./support/lock-inc-1.2.0')
const { rejection, until } = require('./support/until')
const { introduced, lossOf, redisScene } = require('./support/scene')

const shared = { mode: 'shared' }

// lock-inc 1.2.0 knows one lock for each name, and no modes.
describe('beside lock-inc 1.2.0', () => {
  const scene = redisScene()
  const { newLocker, key, keys } = scene
  let old

  beforeEach(() => {
    old = oldLocker({ port: scene.server.port, prefix: scene.prefix })
  })

  afterEach(() => old.close())

  it('shared locks keep it out, however many there are, until the last one has gone', async () => {
    const locks = []
    for (let count = 0; count < 3; count++) {
      locks.push(await newLocker().lock('resource', shared))
      expect(await old.lock('resource')).toBeGreaterThan(1)
    }
    for (const lock of locks) {
      expect(await old.lock('resource')).toBeGreaterThan(1)
      expect(await lock.unlock()).toBe(true)
    }
    expect(await old.lock('resource')).toBe(1)
  })

  it('it shares with nobody, and those who wait to share come in together when it has unlocked', async () => {
    expect(await old.lock('resource')).toBe(1)
    const error = await rejection(newLocker().lock('resource', shared))
    expect(error).toMatchObject({ code: 'ERR_RESOURCE_LOCKED', holder: null })
    const waiting = { ...shared, timeout: Infinity, retryInterval: 10 }
    const calls = [1, 2].map(() => newLocker().lock('resource', waiting))
    await scene.waiting('resource', 2)
    await old.unlock('resource')
    const locks = await Promise.all(calls)
    expect((await newLocker().inspect('resource')).holders).toHaveLength(2)
    for (const lock of locks) expect(await lock.unlock()).toBe(true)
  })

  it('a shared lock that it has deleted blindly is lost, for each of those who had it', async () => {
    const locks = [await newLocker().lock('resource', shared), await newLocker().lock('resource', shared)]
    await old.unlock('resource')
    for (const lock of locks) {
      expect(await lock.extend(60)).toBe(false)
      expect(lock.signal.reason).toMatchObject({ reason: 'purged' })
      expect(await lock.unlock()).toBe(false)
    }
    await until(async () => (await keys()).join() === `${scene.prefix}fence`, 'nothing is left')
  })

  it('whoever shares it anew after that does not bring back those who have lost it', async () => {
    const [a, b] = [newLocker(), newLocker()]
    const lost = [await a.lock('resource', shared), await b.lock('resource', shared)]
    await old.unlock('resource')
    const fresh = [await newLocker().lock('resource', shared), await newLocker().lock('resource', shared)]
    for (const lock of lost) expect(await lock.extend(60)).toBe(false)
    for (const lock of lost) expect(await lock.unlock()).toBe(false)
    for (const lock of fresh) expect(await lock.extend(60)).toBe(true)
    expect((await newLocker().inspect('resource')).holders).toHaveLength(2)
  })

  it('its attempts, very many of them, change nothing of who shares a lock', async () => {
    const [a, b] = [newLocker(), newLocker()]
    const locks = [await a.lock('resource', shared), await b.lock('resource', shared)]
    for (let round = 0; round < 3; round++) {
      await scene.server.call('INCRBY', key('resource'), 240_000)
      expect(await newLocker().tryLock('resource')).toBeNull()
      for (const lock of locks) expect(await lock.extend(60)).toBe(true)
    }
    expect(await a.isLocked('resource')).toBe(true)
    const third = await newLocker().lock('resource', shared)
    for (const lock of [...locks, third]) expect(await lock.unlock()).toBe(true)
    expect(await keys()).toEqual([`${scene.prefix}fence`])
  })

  it('its lock can be stolen, without its hearing of it', async () => {
    expect(await old.lock('resource')).toBe(1)
    const lock = await newLocker().lock('resource', { steal: true })
    expect(lock.held).toBe(true)
    expect(await newLocker().tryLock('resource')).toBeNull()
    expect(await lock.unlock()).toBe(true)
  })

  it('a lock of several fails where it has one of them', async () => {
    expect(await old.lock('b')).toBe(1)
    const error = await rejection(newLocker().lock(['a', 'b']))
    expect(error).toMatchObject({ code: 'ERR_RESOURCE_LOCKED', resourceId: 'b', holder: null })
    expect(await newLocker().isLocked('a')).toBe(false)
    const call = newLocker().lock(['a', 'b'], { timeout: Infinity, retryInterval: 10 })
    await scene.waiting('b', 1)
    await old.unlock('b')
    expect(await (await call).unlock()).toBe(true)
  })

  it('a robbed holder is told also when its lock was young, and once only', async () => {
    const locker = newLocker()
    const lock = await locker.lock('resource', { renew: true, expire: 5 })
    const losses = []
    lock.signal.addEventListener('abort', () => losses.push(lock.signal.reason.reason))
    const thief = newLocker()
    await thief.lock('resource', { steal: true })
    await lossOf(lock)
    await introduced(thief, 'resource')
    await locker.isLocked('resource')
    expect(losses).toEqual(['stolen'])
  })
})
