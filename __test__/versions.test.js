'use strict'

const lockFactory = require('..')
const { introduced, lossOf, redisScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

// What a later version may do, as docs/protocol.md has it, done here by hand.
describe('a later version in the same Redis', () => {
  const scene = redisScene()
  const { newLocker, key, keys, waiting } = scene
  const call = (...command) => scene.server.call(...command)
  const word = `${'7'.repeat(13)}000001`
  // As many digits as a word, and more than any has.
  const unknown = '9210000000000000001'
  const forever = { timeout: Number.POSITIVE_INFINITY, retryInterval: 20 }

  const channelOf = async (resource) => {
    const [member] = await call('ZRANGE', `${key(resource)}:queue`, 0, 0)
    const [nonce, , client] = member.split(' ')
    return { member, nonce, channel: `${scene.prefix}client:${client}` }
  }

  it('is named, whatever else it says of itself', async () => {
    await call('SET', key('resource'), word, 'PX', 60_000)
    await call('SET', `${scene.prefix}client:777777`, 'fedcba9876543210 7 elsewhere 3 and more')
    const { holder } = await rejection(newLocker().lock('resource'))
    expect(holder).toMatchObject({ clientId: 'fedcba9876543210', pid: 7, host: 'elsewhere' })
  })

  it('learns which protocol we speak', async () => {
    await newLocker().lock('resource')
    const number = (await call('GET', key('resource'))).slice(0, 6)
    expect((await call('GET', `${scene.prefix}client:${number}`)).split(' ').slice(3)).toEqual(['2'])
  })

  it('hands a lock over with messages that say more, among others that are not understood', async () => {
    await call('SET', key('resource'), word, 'PX', 60_000)
    const granted = newLocker().lock('resource', forever)
    await waiting('resource', 1)
    const { member, nonce, channel } = await channelOf('resource')
    const [seconds] = await call('TIME')
    const token = `${seconds}000000`
    await call('PUBLISH', channel, `offer ${nonce} ${key('resource')}`)
    await call('PUBLISH', channel, '')
    await call('SET', key('resource'), `${nonce}500001`, 'PX', 60_000)
    await call('ZREM', `${key('resource')}:queue`, member)
    await call('PUBLISH', channel, `grant ${nonce} ${token} ${token} 60000 ${key('resource')} shared 3`)
    const lock = await granted
    expect(lock.token).toBe(Number(token))
    const lost = lossOf(lock)
    await call('DEL', key('resource'))
    await call('PUBLISH', channel, `lost ${nonce} ${token} ${key('resource')} by whom`)
    expect((await lost).reason).toBe('purged')
  })

  it('holds a lock in a way that is not known, and is let alone until it is gone', async () => {
    const [locker, other] = [newLocker(), newLocker()]
    await call('SET', key('resource'), unknown, 'PX', 60_000)
    const error = await rejection(locker.lock('resource'))
    expect(error).toBeInstanceOf(lockFactory.ResourceLockedError)
    expect(error.holder).toBeNull()
    expect(await locker.tryLock('resource')).toBeNull()
    expect(await locker.isLocked('resource')).toBe(true)
    const calls = [locker, other].map((locker) => locker.lock('resource', forever))
    await waiting('resource', 2)
    expect(await call('GET', key('resource'))).toMatch(/^92100000000000000\d\d$/)
    expect(await call('PTTL', key('resource'))).toBeGreaterThan(30_000)
    await call('DEL', key('resource'))
    for (const lock of await Promise.all(calls.map(async (call) => (await call).unlock())))
      expect(lock).toBe(true)
    expect(await keys()).toEqual([`${scene.prefix}fence`])
  })

  it('holds a lock in a way that is not known, which can be taken from it by force', async () => {
    const locker = newLocker()
    for (const remove of [() => locker.forceUnlock('resource'), () => locker.purge()]) {
      await call('SET', key('resource'), unknown, 'PX', 60_000)
      await remove()
      expect(await (await locker.lock('resource')).unlock()).toBe(true)
    }
  })

  it('keeps more beside a lock, which stays while the lock does', async () => {
    const [locker, other] = [newLocker(), newLocker()]
    const lock = await locker.lock('resource')
    await introduced(locker, 'resource')
    await call('HSET', `${key('resource')}:clients`, 'mode:7', 'shared 3')
    await call('SET', `${key('resource')}:shared`, 'x')
    const next = other.lock('resource', forever)
    await waiting('resource', 1)
    await lock.extend(30)
    await lock.unlock()
    expect((await next).held).toBe(true)
    expect(await call('HGET', `${key('resource')}:clients`, 'mode:7')).toBe('shared 3')
    await (await next).unlock()
    await locker.purge()
    await until(async () => (await keys()).length === 2)
    expect(await keys()).toEqual([`${key('resource')}:shared`, `${scene.prefix}fence`].sort())
  })
})
