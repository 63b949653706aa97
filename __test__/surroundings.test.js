'use strict'

const fs = require('node:fs')
const path = require('node:path')
const lockFactory = require('..')
const { runNode } = require('./support/child')
const { redisScene } = require('./support/scene')

// What the code of a user, of a test runner or of a bundler does around us.
describe('a locker', () => {
  const scene = redisScene()

  /** Locks, waits and unlocks, several times in one turn. */
  const use = async (lockFactory, spec) => {
    const [locker, other] = [lockFactory(spec), lockFactory(spec)]
    const locks = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => locker.lock(name, { expire: 5 })))
    const waiting = other.lock('a', { timeout: 10_000 })
    const unlocked = await Promise.all(locks.map((lock) => lock.unlock()))
    await (await waiting).unlock()
    await Promise.all([locker.close(), other.close()])
    return unlocked
  }
  const specs = () => [
    { driver: 'memory', settings: { prefix: scene.prefix } },
    { driver: 'redis', config: { port: scene.server.port }, settings: { prefix: scene.prefix } },
  ]

  afterEach(() => jest.useRealTimers())

  it('works while a test fakes timers and clocks, loaded before or after that', async () => {
    for (const load of [() => require('..'), () => {}, () => jest.resetModules()]) {
      load()
      jest.useFakeTimers()
      const finish = jest.spyOn(require('../lib/native'), 'finish')
      for (const spec of specs()) {
        finish.mockClear()
        expect(await use(require('..'), spec)).toEqual(new Array(5).fill(true))
        // Each turn has come to its end: what was called in it did not wait for somebody else to send it.
        expect(finish.mock.calls.length).toBeGreaterThan(1)
      }
      finish.mockRestore()
      jest.useRealTimers()
    }
  })

  it('works where all that can be faked is faked, and the process ends as it should', async () => {
    const script = `
      for (const name of ['queueMicrotask', 'setTimeout', 'setInterval', 'setImmediate']) globalThis[name] = () => {}
      performance.now = Date.now = () => 1
      process.hrtime = Object.assign(() => [0, 1], { bigint: () => 1n })
      ;(${use})(lockFactory, args.spec).then(tell)
    `
    for (const spec of specs()) {
      const args = { spec }
      const { code, signal, messages, stderr } = await runNode(script, args).ended
      expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
      expect(messages).toEqual([new Array(5).fill(true)])
    }
  })
})

describe('an abort signal', () => {
  const scene = redisScene()
  const spec = (driver) => ({
    driver,
    config: driver === 'redis' ? { port: scene.server.port } : undefined,
    settings: { prefix: scene.prefix },
  })

  it.each(['memory', 'redis'])('that throws leaves no lock behind (%s)', async (driver) => {
    const locker = lockFactory(spec(driver))
    const thrown = new Error('no listeners here')
    const refuse = () => {
      throw thrown
    }
    const deaf = { aborted: false, addEventListener: refuse, removeEventListener: refuse }
    expect(() => locker.lock('resource', { signal: deaf })).toThrow(thrown)
    const sticky = { aborted: false, addEventListener: () => {}, removeEventListener: refuse }
    const lock = await locker.lock('resource', { signal: sticky })
    expect(await lock.unlock()).toBe(true)
    expect(await locker.isLocked('resource')).toBe(false)
    await locker.close()
  })

  it.each(['memory', 'redis'])(
    'has its reason told as it is, whatever that looks like (%s)',
    async (driver) => {
      const locker = lockFactory(spec(driver))
      for (const reason of [{ code: 'ERR_CLOSED' }, { code: 'ERR_RESOURCE_LOCKED' }, 'gone', null]) {
        // Aborted as the grant comes.
        let reads = 0
        const signal = {
          get aborted() {
            return ++reads > 2
          },
          reason,
          addEventListener: () => {},
          removeEventListener: () => {},
        }
        const outcome = await locker.lock('resource', { signal }).then(
          () => 'resolved',
          (error) => ({ error }),
        )
        expect(outcome).toEqual({ error: reason })
        expect(reads).toBeGreaterThan(2)
      }
      await locker.close()
    },
  )
})

describe('an error', () => {
  it('has its name also where a minifier has renamed its class', () => {
    const source = fs.readFileSync(path.join(__dirname, '../lib/errors.js'), 'utf8')
    const names = [...source.matchAll(/^class (\w+)/gm)].map(([, name]) => name)
    expect(names.length).toBeGreaterThan(4)
    // As minifiers do: names of classes become others, keys of objects and strings stay.
    let minified = source.replace(/\{ ([A-Z]\w+(?:, [A-Z]\w+)*) \}/g, (_, list) => {
      return `{ ${list
        .split(', ')
        .map((name) => `${name}: ${name}`)
        .join(', ')} }`
    })
    minified = minified.replace(/^ {2}([A-Z]\w+Error),$/gm, '  $1: $1,')
    for (const [index, name] of names.entries()) {
      minified = minified.replace(new RegExp(`(?<!['"\\w])${name}\\b(?!['":])`, 'g'), `y${index}`)
    }
    const module = { exports: {} }
    new Function('module', 'require', minified)(module, (name) => require(name.replace(/^\.\//, '../lib/')))
    for (const name of names) {
      const Class = module.exports[name]
      expect(Class.name).not.toBe(name)
      expect(new Class('a', 1, 'expired').name).toBe(name)
    }
  })
})
