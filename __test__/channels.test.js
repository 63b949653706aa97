'use strict'

const { AsyncLocalStorage } = require('node:async_hooks')
const diagnostics = require('node:diagnostics_channel')
const lockFactory = require('..')
const { bothDrivers } = require('./support/drivers')
const { FaultyProxy } = require('./support/proxy')
const { startRedis } = require('./support/redis-server')
const { introduced, lockerScene, lossOf } = require('./support/scene')
const { rejection, until } = require('./support/until')

const CHANNELS = [
  ...['ask', 'wait', 'acquire', 'contended', 'fail', 'renew', 'renew-failed', 'extend', 'release', 'lost'],
  ...['disconnect', 'reconnect'],
]

const storage = new AsyncLocalStorage()
const duration = expect.any(Number)
const number = expect.any(Number)

/** What is published about lockers of this prefix, in order, each with its name and the async context of the subscriber. */
function listenTo(prefix) {
  const heard = []
  const listeners = CHANNELS.map((name) => {
    const listener = (message) => {
      if (message.prefix === prefix()) heard.push({ name, context: storage.getStore(), ...message })
    }
    diagnostics.subscribe(`lock-inc:${name}`, listener)
    return () => diagnostics.unsubscribe(`lock-inc:${name}`, listener)
  })
  const end = () => {
    for (const unsubscribe of listeners) unsubscribe()
  }
  return { heard, end }
}

const both = bothDrivers()

describe.each(both.drivers)('the diagnostics channels, with the driver %s,', (_, specOf) => {
  const scene = lockerScene(specOf)
  const { newLocker } = scene
  let heard
  let end

  beforeEach(() => {
    ;({ heard, end } = listenTo(() => scene.prefix))
  })

  afterEach(() => end())

  const named = (name) => heard.filter((message) => message.name === name)
  const untilHeard = (name) => until(() => named(name)[0], `${name} was published`)

  it('tell of a lock from the call to its end', async () => {
    const { prefix } = scene
    const resourceId = 'resource'
    const lock = await newLocker().lock(resourceId, { expire: 30 })
    await lock.extend(60)
    await lock.unlock()
    const about = { lock: number, prefix, resourceId, token: lock.token, context: undefined }
    const asked = { resourceIds: [resourceId], mode: 'exclusive', limit: null, expire: 30_000, timeout: 0 }
    expect(heard).toEqual([
      { name: 'ask', call: number, prefix, ...asked, renew: false, steal: false, context: undefined },
      { name: 'acquire', ...about, call: heard[0].call, mode: 'exclusive', waited: false, duration },
      { name: 'extend', ...about, lease: 60_000, extended: true, error: undefined },
      { name: 'release', ...about, held: true, error: undefined, duration },
    ])
    expect(new Set(heard.slice(1).map((message) => message.lock)).size).toBe(1)
  })

  it('tell who is in the way of a call that is refused', async () => {
    const locker = newLocker()
    const { token } = await locker.lock('resource')
    await introduced(locker, 'resource')
    const { leaseLeft } = await rejection(newLocker().lock('resource'))
    expect(named('contended')).toEqual([
      {
        name: 'contended',
        call: named('ask')[1].call,
        prefix: scene.prefix,
        resourceId: 'resource',
        mode: 'exclusive',
        holder: expect.objectContaining({ pid: process.pid, token }),
        leaseLeft,
        position: null,
        numberOfLocks: 2,
        duration,
        context: undefined,
      },
    ])
    expect(named('fail')).toEqual([])
  })

  it('tell that a call waits, for whom, and that the lock was handed over to it', async () => {
    const locker = newLocker()
    const first = await locker.lock('resource')
    await introduced(locker, 'resource')
    const locking = storage.run('who waits', () => newLocker().lock('resource', { timeout: 20_000 }))
    const wait = await untilHeard('wait')
    expect(wait).toMatchObject({
      resourceId: 'resource',
      holder: { pid: process.pid, token: first.token },
      position: 1,
      context: 'who waits',
    })
    expect(named('acquire').map(({ waited }) => waited)).toEqual([false])
    await first.unlock()
    const second = await locking
    expect(named('acquire')[1]).toMatchObject({ call: wait.call, waited: true, token: second.token })
  })

  it('tell of several resources that a call asks for at once', async () => {
    const other = await newLocker().lock('b')
    const locking = newLocker().lock(['a', 'b'], { timeout: 20_000, mode: 'shared', limit: 3 })
    const wait = await untilHeard('wait')
    expect(wait.resourceId).toBe('b')
    await other.unlock()
    const set = await locking
    await set.unlock()
    const { call } = named('ask')[1]
    expect(named('ask')[1]).toMatchObject({ resourceIds: ['a', 'b'], mode: 'shared', limit: 3 })
    const acquired = named('acquire').filter((message) => message.call === call)
    expect(acquired.map(({ resourceId }) => resourceId)).toEqual(['a', 'b'])
    const released = named('release').map(({ lock }) => lock)
    expect(released).toEqual(expect.arrayContaining(acquired.map(({ lock }) => lock)))
  })

  it('tell of renewals and of a loss, in the context of the call that took the lock', async () => {
    const locker = newLocker()
    const lock = await storage.run('holder', () => locker.lock('resource', { expire: 0.6, renew: true }))
    await untilHeard('renew')
    await newLocker().forceUnlock('resource')
    await lossOf(lock)
    const { token } = lock
    expect(named('renew')[0]).toEqual({ ...named('renew')[0], token, context: 'holder' })
    expect(named('lost')).toMatchObject([{ token, reason: 'purged', duration, context: 'holder' }])
    expect(named('lost')[0].lock).toBe(named('acquire')[0].lock)
  })

  it('tell of a call that is given up by its signal, whatever the reason of that is', async () => {
    await newLocker().lock('resource')
    const controller = new AbortController()
    const locking = newLocker().lock('resource', { timeout: 20_000, signal: controller.signal })
    await untilHeard('wait')
    controller.abort('enough')
    expect(await rejection(locking)).toBe('enough')
    expect(named('fail')).toMatchObject([
      { call: named('wait')[0].call, resourceIds: ['resource'], aborted: true, error: 'enough', duration },
    ])
  })

  it('tell why a call has failed', async () => {
    const locker = newLocker()
    await locker.close()
    const error = await rejection(locker.lock(['a', 'b']))
    expect(error).toBeInstanceOf(lockFactory.ClosedError)
    expect(named('fail')).toMatchObject([{ resourceIds: ['a', 'b'], aborted: false, error }])
  })

  it('tell of an extension that came to nothing, and leave its rejection to the caller', async () => {
    const locker = newLocker()
    const lock = await locker.lock('resource')
    await locker.close()
    const error = await rejection(lock.extend(5))
    expect(named('extend')).toMatchObject([{ extended: undefined, error }])
  })
})

describe('the diagnostics channels, where something is wrong with the server,', () => {
  const prefix = 'trouble:'
  const opened = []
  let heard
  let end

  beforeEach(() => {
    ;({ heard, end } = listenTo(() => prefix))
  })

  afterEach(async () => {
    end()
    await Promise.all(opened.splice(0).map((locker) => locker.close()))
  })

  const named = (name) => heard.filter((message) => message.name === name)
  const open = (port, config) => {
    const locker = lockFactory({
      driver: 'redis',
      config: { port, retry_max_delay: 20, ...config },
      settings: { prefix },
    })
    opened.push(locker)
    return locker
  }

  it('tell that a connection is lost, and when there is one again', async () => {
    const proxy = await FaultyProxy.to(both.server.port)
    const locker = open(proxy.port)
    await locker.isLocked('resource')
    expect(named('disconnect')).toEqual([])
    proxy.cut()
    await until(() => named('reconnect').length > 0, 'it is connected again')
    const [{ error, locker: whose }] = named('disconnect')
    expect(error).toBeInstanceOf(lockFactory.ConnectionError)
    expect(error.message).toMatch(`The connection to Redis at 127.0.0.1:${proxy.port} was lost (`)
    expect(error.cause.code).toEqual(expect.any(String))
    expect([whose, named('reconnect')[0].locker]).toEqual([locker, locker])
    await proxy.close()
  })

  it('tell that a server cannot be reached, and when it is there', async () => {
    const proxy = await FaultyProxy.to(both.server.port)
    const { port } = proxy
    await proxy.close()
    const locker = open(port, { password: 'a secret' })
    await until(() => named('disconnect').length > 1, 'it was tried')
    const [{ error }] = named('disconnect')
    expect(error).toMatchObject({ code: 'ERR_CONNECTION', cause: { code: 'ECONNREFUSED' } })
    expect(error.message).toMatch(`Redis at 127.0.0.1:${port} could not be reached (`)
    expect(error.message).not.toContain('secret')
    expect(named('reconnect')).toEqual([])
    const other = await startRedis({ port, args: ['--requirepass', 'a secret'], password: 'a secret' })
    expect(await locker.isLocked('resource')).toBe(false)
    expect(named('reconnect')).toHaveLength(1)
    await other.stop()
  })

  it('tell of a renewal that the server refuses', async () => {
    const name = `renewing-${process.pid}`
    await both.server.call('ACL', 'SETUSER', name, 'on', '>p', '~*', '&*', '+@all')
    const locker = open(both.server.port, { username: name, password: 'p' })
    const lock = await locker.lock('resource', { expire: 1.5, renew: true })
    await both.server.call('ACL', 'SETUSER', name, '-evalsha', '-eval')
    const failed = await until(() => named('renew-failed')[0], 'it was refused')
    expect(failed).toMatchObject({
      resourceId: 'resource',
      token: lock.token,
      lock: named('acquire')[0].lock,
    })
    expect(failed.error).toMatchObject({ code: 'ERR_REDIS_NOPERM', resourceId: 'resource' })
    await both.server.call('ACL', 'DELUSER', name)
  })
})
