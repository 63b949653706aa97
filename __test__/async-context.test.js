'use strict'

const { AsyncLocalStorage } = require('node:async_hooks')
const diagnostics = require('node:diagnostics_channel')
const { runNode } = require('./support/child')
const { freePort } = require('./support/redis-server')
const { block, redisScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

// Whoever is called back sees the stores of the call that it belongs to, not those of whoever came first.
describe('the async context', () => {
  const scene = redisScene()
  const { newLocker, spec } = scene
  const storage = new AsyncLocalStorage()

  /** What subscribers of a channel are told in this test, and the store that each of them sees. */
  const seenBy = (channel) => {
    const seen = []
    const subscriber = (message) => seen.push({ ...message, store: storage.getStore() })
    diagnostics.subscribe(channel, subscriber)
    unsubscribe.push(() => diagnostics.unsubscribe(channel, subscriber))
    return seen
  }
  const unsubscribe = []
  afterEach(() => {
    for (const end of unsubscribe.splice(0)) end()
  })

  /** Two lockers, each made in a context of its own. */
  const twoLockers = () =>
    ['first locker', 'second locker'].map((name) => storage.run(name, () => newLocker()))

  it('of an abort listener is that of the call that took the lock', async () => {
    const [first, second] = twoLockers()
    const locking = [first, second, first].map((locker, index) =>
      storage.run(`call ${index}`, () => locker.lock(`resource ${index}`)),
    )
    const locks = await Promise.all(locking)
    const seen = {}
    for (const { signal, resourceId } of locks) {
      signal.addEventListener('abort', () => {
        seen[resourceId] = storage.getStore()
      })
    }
    for (const { resourceId } of locks) {
      await storage.run('who takes it away', () => newLocker().forceUnlock(resourceId))
    }
    await until(() => Object.keys(seen).length === 3, 'all have heard')
    expect(seen).toEqual({ 'resource 0': 'call 0', 'resource 1': 'call 1', 'resource 2': 'call 2' })
  })

  it('of a subscriber who is told about a lock is that of the call that it is about', async () => {
    const [first, second] = twoLockers()
    const channels = ['acquire', 'contended', 'release', 'renew', 'lost']
    const seen = Object.fromEntries(channels.map((name) => [name, seenBy(`lock-inc:${name}`)]))
    const options = { expire: 1.5, renew: true }
    const [a, b] = await Promise.all([
      storage.run('call a', () => first.lock('a', options)),
      storage.run('call b', () => second.lock('b', options)),
    ])
    await storage.run('call c', () => rejection(second.lock('a')))
    await until(() => new Set(seen.renew.map(({ token }) => token)).size === 2, 'both are renewed')
    await newLocker().forceUnlock('a')
    await until(() => seen.lost.some(({ token }) => token === a.token), 'it is lost')
    await storage.run('unlock b', () => b.unlock())

    const storesOf = (name, token) =>
      new Set(seen[name].filter((message) => message.token === token).map(({ store }) => store))
    expect(storesOf('acquire', a.token)).toEqual(new Set(['call a']))
    expect(storesOf('acquire', b.token)).toEqual(new Set(['call b']))
    expect(seen.contended.map(({ store }) => store)).toEqual(['call c'])
    expect(storesOf('renew', a.token)).toEqual(new Set(['call a']))
    expect(storesOf('renew', b.token)).toEqual(new Set(['call b']))
    expect(storesOf('lost', a.token)).toEqual(new Set(['call a']))
    expect(storesOf('release', b.token)).toEqual(new Set(['unlock b']))
  })

  it('of a subscriber who is told of a renewal is the same where the thread has not heard of the grant before', async () => {
    const locker = newLocker()
    await (await locker.lock('warm-up')).unlock()
    const [acquired, renewed] = [seenBy('lock-inc:acquire'), seenBy('lock-inc:renew')]
    const locking = storage.run('call', () => locker.lock('resource', { expire: 0.3, renew: true }))
    // The turn ends, and with it what this thread settles by itself; but the event loop does not go on.
    await new Promise(process.nextTick)
    block(500)
    const lock = await locking
    await until(() => renewed.length > 0, 'it is renewed')
    expect(acquired.map(({ store }) => store)).toEqual(['call'])
    expect(new Set(renewed.map(({ store }) => store))).toEqual(new Set(['call']))
    await lock.unlock()
  })

  it('of a subscriber who is told of a new connection is that of lockFactory', async () => {
    const lockers = twoLockers()
    await Promise.all(lockers.map((locker) => storage.run('call', () => locker.isLocked('resource'))))
    const seen = seenBy('lock-inc:reconnect')
    await scene.server.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(
      () => lockers.every((locker) => seen.some((message) => message.locker === locker)),
      'both connect',
    )
    const storeOf = (locker) => seen.find((message) => message.locker === locker).store
    expect(lockers.map(storeOf)).toEqual(['first locker', 'second locker'])
  })

  it('of retry_strategy is that of lockFactory', async () => {
    const seen = new Set()
    // The same function for both, on links of their own.
    const retry_strategy = () => {
      seen.add(storage.getStore())
      return 10
    }
    for (const name of ['locker a', 'locker b']) {
      const port = await freePort()
      storage.run(name, () => newLocker({ port, retry_strategy }))
    }
    await until(() => seen.size > 1, 'both are asked')
    expect([...seen].sort()).toEqual(['locker a', 'locker b'])
  })

  it('of what goes on after a call, and of the callback of a request, is that of the call', async () => {
    const [first, second] = twoLockers()
    const seen = []
    const see = () => seen.push(storage.getStore())
    await Promise.all([
      storage.run('request a', () => first.request('a', see)),
      storage.run('request b', () => second.request('b', see)),
      storage.run('then c', () => first.lock('c').then(see)),
    ])
    expect(seen.sort()).toEqual(['request a', 'request b', 'then c'])
  })

  it('of the first caller is not kept', async () => {
    const script = `
      const { AsyncLocalStorage } = require('node:async_hooks')
      const storage = new AsyncLocalStorage()
      if (!globalThis.Bun) require('node:v8').setFlagsFromString('--expose-gc')
      const collect = globalThis.Bun ? () => Bun.gc(true) : require('node:vm').runInNewContext('gc')
      const stores = []
      const run = async (name, spec) => {
        const store = { name }
        stores.push(new WeakRef(store))
        await storage.run(store, async () => {
          const locker = lockFactory(spec)
          const lock = await locker.lock(name)
          lock.signal.addEventListener('abort', () => {})
          await lock.unlock()
          await locker.close()
        })
      }
      const main = async () => {
        await run('memory', { driver: 'memory', settings: args.settings })
        await run('first', args)
        await run('second', args)
        const other = lockFactory(args)
        for (let round = 0; stores.some((store) => store.deref()) && round < 200; round++) {
          await (await other.lock('resource')).unlock()
          await new Promise((resolve) => setTimeout(resolve, 10))
          collect()
        }
        tell(stores.map((store) => store.deref()?.name))
        await other.close()
      }
      main()
    `
    const { messages, stderr } = await runNode(script, spec()).ended
    expect({ messages, stderr }).toEqual({ messages: [[null, null, null]], stderr: '' })
  })
})
