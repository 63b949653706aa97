'use strict'

const { isNode } = require('../lib/is-node')
const { runNode } = require('./support/child')
const { lockerScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

// An error shows where the call was made that it ends, whether or not somebody awaits it.
describe('the stack of an error', () => {
  const scene = lockerScene((prefix) => ({ driver: 'memory', settings: { prefix } }))
  const { stackTraceLimit } = Error

  afterEach(() => {
    Error.stackTraceLimit = stackTraceLimit
    Error.prepareStackTrace = undefined
  })

  /** Not awaited. In an object, for whoever awaits this. */
  function theCaller(call) {
    const promise = call()
    return { promise }
  }

  /** All but the first line. Bun says nothing at all where there are none. */
  const framesOf = ({ stack = '' }) => stack.split('\n').slice(1)

  it.each([
    ...['lock', 'tryLock', 'unlock', 'isLocked', 'inspect', 'forceUnlock', 'purge'].map((method) => [method]),
    ['request', () => {}],
  ])('of %s begins with the caller', async (method, ...more) => {
    const locker = scene.newLocker()
    await locker.close()
    const { promise } = theCaller(() => locker[method]('resource', ...more))
    const error = await rejection(promise)
    expect(error.code).toBe('ERR_CLOSED')
    expect(error.stack).toMatch(/^ClosedError: /)
    expect(error.stack).toContain('theCaller')
    // On V8, what is ours is not there.
    if (isNode && method !== 'tryLock') expect(framesOf(error)[0]).toContain(__filename)
  })

  it.each(['unlock', 'extend'])('of %s of a lock begins with the caller', async (method) => {
    const locker = scene.newLocker()
    const lock = await locker.lock('resource')
    await locker.close()
    const error = await rejection(theCaller(() => lock[method](5)).promise)
    expect(error.stack).toContain('theCaller')
    if (isNode) expect(framesOf(error)[0]).toContain(__filename)
  })

  it('has all that waited for the caller', async () => {
    const locker = scene.newLocker()
    await locker.lock('resource')
    const theCallerOfAll = async () => {
      const { promise } = await theAsyncCaller()
      return { promise }
    }
    const theAsyncCaller = async () => {
      await undefined
      return theCaller(() => locker.lock('resource'))
    }
    const { promise } = await theCallerOfAll()
    const { stack } = await rejection(promise)
    expect(stack).toMatch(/^ResourceLockedError: Resource locked: .*\n/)
    expect(stack).toMatch(/theCaller[\s\S]*theCallerOfAll/)
  })

  it('shows the caller in what a process says that ends with it', async () => {
    const script = `
      function theCaller() {
        const promise = locker.lock('resource')
        return [promise]
      }
      const locker = lockFactory({ driver: 'memory', settings: { prefix: 'x' } })
      locker.lock('resource').then(() => theCaller())
    `
    const { code, stderr } = await runNode(script).ended
    expect(code).not.toBe(0)
    expect(stderr).toContain('Resource locked')
    expect(stderr).toContain('theCaller')
  })

  it('is as long as Error.stackTraceLimit says', async () => {
    const locker = scene.newLocker()
    await locker.lock('resource')
    for (const length of [0, 1, 2]) {
      Error.stackTraceLimit = length
      const { promise } = theCaller(() => locker.lock('resource'))
      const error = await rejection(promise)
      Error.stackTraceLimit = stackTraceLimit
      expect(framesOf(error)).toHaveLength(length)
    }
  })

  it('is put into words by Error.prepareStackTrace, if there is one', async () => {
    const locker = scene.newLocker()
    await locker.lock('resource')
    const told = []
    Error.prepareStackTrace = (error, frames) => {
      told.push(error.name, error.code)
      return frames.map((frame) => frame.getFunctionName())
    }
    const error = await rejection(theCaller(() => locker.lock('resource')).promise)
    expect(error.stack).toContain('theCaller')
    expect(Array.isArray(error.stack)).toBe(true)
    if (isNode) expect(told.slice(-2)).toEqual(['ResourceLockedError', 'ERR_RESOURCE_LOCKED'])
  })

  it('may be replaced', async () => {
    const locker = scene.newLocker()
    await locker.lock('resource')
    const error = await rejection(theCaller(() => locker.lock('resource')).promise)
    error.stack = 'another one'
    expect(error.stack).toBe('another one')
    expect(Object.keys(error)).not.toContain('stack')
  })

  it('is not captured for every call where very many are made, and is again afterwards', async () => {
    const locker = scene.newLocker()
    await locker.lock('resource')
    Error.prepareStackTrace = (_, frames) => frames.map((frame) => frame.getFunctionName()).join()
    const call = () => rejection(theCaller(() => locker.lock('resource')).promise)
    const showsCaller = ({ stack }) => stack.includes('theCaller')
    const flood = Array.from({ length: 10_000 }, call)
    const shown = (await Promise.all(flood)).filter(showsCaller).length
    expect(shown).toBeGreaterThan(0)
    expect(shown).toBeLessThan(10_000)
    await until(async () => showsCaller(await call()), 'it is captured')
  })
})
