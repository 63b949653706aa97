'use strict'

const { kill, runLocker } = require('./support/child')
const { rejection, until } = require('./support/until')
const { redisScene } = require('./support/scene')
const { script } = require('./support/scripts')

const shared = { mode: 'shared' }
const timeout = Number.POSITIVE_INFINITY

// What goes wrong with locks that are shared or stolen.
describe('modes', () => {
  const scene = redisScene()
  const { newLocker, key, keys, waiting } = scene
  const call = (...args) => scene.server.call(...args)

  it('a process that has died while it waited for itself alone keeps out nobody who shares', async () => {
    const reader = await newLocker().lock('resource', shared)
    const writer = runLocker(scene.spec())
    await until(() => writer.heard.includes('ready'))
    writer.send({ id: 1, call: 'lock', resource: 'resource', options: {} })
    await waiting('resource', 1)
    kill(writer.child)
    await writer.ended
    const begin = performance.now()
    const late = await newLocker().lock('resource', { ...shared, timeout })
    // With its next poll, long before the dead one counts as dead by itself.
    expect(performance.now() - begin).toBeLessThan(10_000)
    for (const lock of [reader, late]) expect(await lock.unlock()).toBe(true)
  })

  it('a lock that goes from hand to hand can be stolen', async () => {
    const lockers = [newLocker(), newLocker(), newLocker()]
    let isOver = false
    const busy = lockers.map(async (locker) => {
      while (!isOver) await (await locker.lock('resource', { timeout })).unlock()
    })
    for (let round = 0; round < 20; round++) {
      const lock = await newLocker()
        .lock('resource', { steal: true })
        .catch((error) => error)
      if (lock instanceof Error) throw lock
      await lock.unlock()
    }
    isOver = true
    await Promise.all(busy)
  })

  it('records of locks that were never unlocked do not gather where somebody has waited', async () => {
    const locker = newLocker()
    const first = await locker.lock('resource')
    expect(await rejection(newLocker().lock('resource', { timeout: 20 }))).toMatchObject({ position: 1 })
    await first.unlock()
    const clients = `${key('resource')}:clients`
    for (let round = 0; round < 14; round++) {
      await call(
        'HSET',
        clients,
        `holder:100000${round + 1000000}`,
        `100000${round + 1000000} 1 c 1 h resource`,
      )
    }
    await call('PEXPIRE', clients, 15_000)
    const lock = await locker.lock('resource')
    await until(async () => (await call('HLEN', clients)) <= 2, 'those before it are forgotten')
    expect(await lock.unlock()).toBe(true)
  })

  it('no key outlives the leases of those who shared a lock, however long they had been', async () => {
    const long = await newLocker().lock('resource', { ...shared, expire: 3600 })
    const short = await newLocker().lock('resource', { ...shared, expire: 1 })
    expect(await long.unlock()).toBe(true)
    const names = ['', ':holders'].map((suffix) => key('resource') + suffix)
    for (const name of names) expect(await call('PTTL', name)).toBeLessThanOrEqual(1000)
    expect(await call('PTTL', `${key('resource')}:clients`)).toBeLessThanOrEqual(15_000)
    expect(await short.unlock()).toBe(true)
    expect(await keys()).toEqual([`${scene.prefix}fence`])
  })

  it('what a thief leaves when it dies ends with its own lease', async () => {
    const holder = await newLocker().lock('resource', { expire: 3600 })
    await until(async () => (await call('EXISTS', `${key('resource')}:clients`)) === 1, 'it has a record')
    const next = rejection(newLocker().lock('resource', { timeout: 100 }))
    await next
    const thief = await newLocker().lock('resource', { steal: true, expire: 0.5 })
    expect(await call('PTTL', `${key('resource')}:clients`)).toBeLessThanOrEqual(15_000)
    expect(await holder.unlock()).toBe(false)
    await thief.unlock()
  })

  it('a forced unlock that has seen nobody, sent again, takes nothing from lock-inc 1.2.0', async () => {
    const lock = key('resource')
    const all = ['', ':clients', ':holders', ':queue'].map((suffix) => lock + suffix)
    await call('SET', lock, 1, 'PX', 60_000)
    const args = [...all, `${scene.prefix}fence`, `${scene.prefix}client:`]
    expect(await call('EVAL', script('remove'), 5, ...args, '')).toBe(0)
    expect(await call('GET', lock)).toBe('1')
    expect(await call('EVAL', script('remove'), 5, ...args, '1')).toBe(1)
  })

  it('an extension that was held up shortens nothing where the record of the lock was lost', async () => {
    const lock = await newLocker().lock('resource', { expire: 90 })
    await lock.extend(80)
    await lock.extend(70)
    const nonce = (await call('GET', key('resource'))).slice(0, 13)
    const names = ['', ':clients', ':holders'].map((suffix) => key('resource') + suffix)
    await call('DEL', names[1])
    const late = [nonce, 2000, 'set', 2, lock.token, '0123456789abcdef 1 h resource']
    expect(await call('EVAL', script('renew'), 3, ...names, ...late)).toBe(1)
    expect(await call('PTTL', names[0])).toBeGreaterThan(60_000)
  })

  it('what is no lock is not stolen, and hurts no purge', async () => {
    const locker = newLocker()
    await call('SET', key('text'), 'what somebody else has put there')
    expect(await rejection(locker.lock('text', { steal: true }))).toMatchObject({
      code: 'ERR_REDIS_WRONGTYPE',
    })
    expect(await call('GET', key('text'))).toContain('somebody else')
    await call('SET', key('odd'), '123456789012é5678')
    await locker.lock('resource')
    await locker.purge()
    expect(await locker.isLocked('resource')).toBe(false)
  })

  it('where memory is short, what is shared is renewed and given up, and nobody is let in', async () => {
    const [a, b] = [newLocker(), newLocker()]
    const locks = [await a.lock('resource', shared), await b.lock('resource', shared)]
    await call('CONFIG', 'SET', 'maxmemory', 1)
    try {
      expect(await rejection(newLocker().lock('resource', shared))).toMatchObject({ code: 'ERR_REDIS_OOM' })
      expect(await rejection(a.lock('resource', { steal: true }))).toMatchObject({ code: 'ERR_REDIS_OOM' })
      expect(await rejection(a.lock(['one', 'two']))).toMatchObject({ code: 'ERR_REDIS_OOM' })
      for (const lock of locks) expect(await lock.extend(70)).toBe(true)
      for (const lock of locks) expect(await lock.unlock()).toBe(true)
    } finally {
      await call('CONFIG', 'SET', 'maxmemory', 0)
    }
    expect(await (await a.lock('resource')).unlock()).toBe(true)
  })
})
