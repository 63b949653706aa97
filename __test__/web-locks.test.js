'use strict'

const { Worker } = require('node:worker_threads')
const { subscribe, unsubscribe } = require('node:diagnostics_channel')
const { startRedis } = require('./support/redis-server')
const { introduced, lockerScene } = require('./support/scene')
const { rejection, until } = require('./support/until')

const shared = { mode: 'shared' }
const ifAvailable = { ifAvailable: true }
const steal = { steal: true }
const idle = () => {}

/** What the Web Locks specification says of requests; docs/web-locks.md has it section by section. */
describe.each(['memory', 'redis'])('a request over %s, by the Web Locks specification,', (driver) => {
  let server

  beforeAll(async () => {
    if (driver === 'redis') server = await startRedis()
  })

  afterAll(() => server?.stop())

  const specOf = (prefix) => ({ driver, config: { port: server?.port }, settings: { prefix } })
  const scene = lockerScene(specOf)
  const { newLocker, waiting } = scene

  /** Whether the lock could be had without waiting. */
  const isFree = (locker, name, options) =>
    locker.request(name, { ...options, ...ifAvailable }, (lock) => lock !== null)

  describe('with its arguments,', () => {
    it('needs a name and a callback, and says so in a rejection', async () => {
      const locker = newLocker()
      const noCallbacks = [undefined, null, 123, 'abc', [], {}, new Promise(idle)]
      for (const args of [[], ['name'], ...noCallbacks.map((any) => ['name', any])]) {
        expect(await rejection(locker.request(...args))).toBeInstanceOf(TypeError)
      }
      for (const any of noCallbacks) {
        expect(await rejection(locker.request('name', {}, any))).toBeInstanceOf(TypeError)
      }
      expect(await isFree(locker, 'name')).toBe(true)
    })

    it('takes the second of two and the third of more for the callback', async () => {
      const locker = newLocker()
      const never = jest.fn()
      expect(await locker.request('name', () => 'second')).toBe('second')
      expect(await locker.request('name', {}, () => 'third', never)).toBe('third')
      expect(await rejection(locker.request('name', never, undefined))).toBeInstanceOf(TypeError)
      expect(never).not.toHaveBeenCalled()
    })

    it('converts them from the left to the right, and only then looks at what they say', async () => {
      const locker = newLocker()
      const thrown = { name: new Error('of the name'), options: new Error('of the options') }
      const name = {
        toString() {
          throw thrown.name
        },
      }
      const options = {
        get mode() {
          throw thrown.options
        },
      }
      expect(await rejection(locker.request(name, options, 'no callback'))).toBe(thrown.name)
      expect(await rejection(locker.request(name, { mode: 'other' }, idle))).toBe(thrown.name)
      expect(await rejection(locker.request('-reserved', options, 'no callback'))).toBe(thrown.options)
      const contradictory = { ...steal, ...ifAvailable }
      for (const args of [
        ['-reserved', contradictory, 'no callback'],
        ['-reserved', { mode: 'other' }, idle],
        ['-reserved', { signal: 'none' }, idle],
        [Symbol('name'), contradictory, idle],
      ]) {
        expect(await rejection(locker.request(...args))).toBeInstanceOf(TypeError)
      }
    })

    it('refuses options that are no object, and takes undefined and null for none', async () => {
      const locker = newLocker()
      for (const options of [42, 'text', true, Symbol('options')]) {
        expect(await rejection(locker.request('name', options, idle))).toBeInstanceOf(TypeError)
      }
      for (const options of [undefined, null]) {
        expect(await locker.request('name', options, (lock) => lock.mode)).toBe('exclusive')
      }
    })

    it('refuses lists, functions and unknown names for options, and takes null for none, unlike the specification', async () => {
      const locker = newLocker()
      for (const options of [[], idle, { modes: 'shared' }]) {
        expect(await rejection(locker.request('name', options, idle))).toBeInstanceOf(TypeError)
      }
      const none = { mode: null, ifAvailable: null, steal: null, signal: null }
      expect(await locker.request('name', none, (lock) => lock.mode)).toBe('exclusive')
    })

    it('knows two modes, and the lock has the one that was asked for', async () => {
      const locker = newLocker()
      for (const mode of ['foo', '', 'Shared', 1]) {
        expect(await rejection(locker.request('name', { mode }, idle))).toBeInstanceOf(TypeError)
      }
      const attributes = ({ name, mode }) => ({ name, mode })
      expect(await locker.request('name', attributes)).toEqual({ name: 'name', mode: 'exclusive' })
      for (const mode of ['exclusive', 'shared']) {
        expect(await locker.request('name', { mode }, attributes)).toEqual({ name: 'name', mode })
      }
    })

    it('takes anything for true or false', async () => {
      const locker = newLocker()
      const holder = await hold(locker, 'name')
      for (const yes of [1, 'no', {}, Symbol('yes')]) {
        expect(await locker.request('name', { ifAvailable: yes, steal: 0 }, (lock) => lock)).toBeNull()
      }
      const robbed = rejection(holder.done)
      expect(await locker.request('name', { ifAvailable: '', steal: 1 }, (lock) => lock.name)).toBe('name')
      expect((await robbed).name).toBe('AbortError')
    })

    it.each([
      ['steal and ifAvailable', { ...steal, ...ifAvailable }],
      ['steal and a shared mode', { ...steal, ...shared }],
      ['steal and a signal', { ...steal, signal: new AbortController().signal }],
      ['ifAvailable and a signal', { ...ifAvailable, signal: new AbortController().signal }],
      ['steal and a signal that has aborted', { ...steal, signal: AbortSignal.abort(new Error('over')) }],
      [
        'ifAvailable and a signal that has aborted',
        { ...ifAvailable, signal: AbortSignal.abort(new Error('over')) },
      ],
    ])('does not support %s', async (_, options) => {
      const never = jest.fn()
      const error = await rejection(newLocker().request('name', options, never))
      expect(error).toBeInstanceOf(DOMException)
      expect(error.name).toBe('NotSupportedError')
      expect(never).not.toHaveBeenCalled()
    })
  })

  describe('with its name,', () => {
    it.each([
      ['with a NUL', 'abc\0def'],
      ['of a high surrogate', '\uD800'],
      ['of a low surrogate', '\uDC00'],
      ['of surrogates the wrong way round', '\uDC00\uD800'],
      ['of a character that is none', '\uFFFF'],
      ['of a space', ' '],
      ['of a property of every object', '__proto__'],
      ['with a hyphen in it', 'x-anything'],
      ['of 100,000 characters', 'long'.repeat(25_000)],
    ])('keeps one %s as it is', async (_, name) => {
      const locker = newLocker()
      await locker.request(name, async (lock) => {
        expect(lock.name).toBe(name)
        expect(await isFree(locker, name)).toBe(false)
      })
      expect(await isFree(locker, name)).toBe(true)
    })

    it('makes no two names one', async () => {
      const locker = newLocker()
      const names = ['name', 'Name', 'name ', 'e\u0301', '\u00E9', 'name\0', 'na*e', '\uFFFE', '\uFFFF']
      const holders = await Promise.all(names.map((name) => hold(locker, name)))
      expect(holders.map(({ lock }) => lock.name)).toEqual(names)
    })

    it('takes a surrogate without its other half for U+FFFD, unlike the specification', async () => {
      const locker = newLocker()
      await hold(locker, '\uD800')
      expect(await isFree(locker, '\uFFFD')).toBe(false)
    })

    it('refuses the empty one, unlike the specification', async () => {
      expect(await rejection(newLocker().request('', idle))).toBeInstanceOf(TypeError)
    })

    it('refuses those that begin with a hyphen', async () => {
      const locker = newLocker()
      for (const name of ['-', '-foo', ['x', '-y']]) {
        const error = await rejection(locker.request(name, idle))
        expect(error).toBeInstanceOf(DOMException)
        expect(error.name).toBe('NotSupportedError')
      }
    })

    it('makes one of anything but a symbol', async () => {
      const locker = newLocker()
      const date = { toString: () => 'of an object' }
      for (const any of [42, null, undefined, true, 10n, date]) {
        expect(await locker.request(any, (lock) => lock.name)).toBe(String(any))
      }
      expect(await rejection(locker.request(Symbol('name'), idle))).toBeInstanceOf(TypeError)
    })
  })

  describe('with its callback,', () => {
    it('makes a promise of what it returns', async () => {
      const locker = newLocker()
      const requested = locker.request('name', () => 123)
      expect(requested).toBeInstanceOf(Promise)
      expect(await requested).toBe(123)
      // biome-ignore lint/suspicious/noThenProperty: it is to be one.
      const thenable = { then: (resolve) => resolve('later') }
      expect(await locker.request('name', () => thenable)).toBe('later')
    })

    it('calls it once, later, with the lock alone', async () => {
      const locker = newLocker()
      const calls = []
      const requested = locker.request('name', function (...args) {
        calls.push([this, ...args])
      })
      expect(calls).toEqual([])
      await requested
      expect(calls).toEqual([[undefined, expect.objectContaining({ name: 'name' })]])
    })

    it.each([
      ['resolves', ({ release }) => release()],
      ['rejects', ({ fail }) => fail(new Error('from the work'))],
    ])('holds the lock until its promise %s', async (_, end) => {
      const locker = newLocker()
      const order = []
      const first = await hold(locker, 'name')
      const second = locker.request('name', () => order.push('second'))
      await waiting('name', 1)
      order.push('end of the first')
      end(first)
      await Promise.all([first.done.catch(idle), second])
      expect(order).toEqual(['end of the first', 'second'])
    })

    it('settles when the lock has been released', async () => {
      const holder = await hold(newLocker(), 'name that is settled')
      const order = []
      const released = ({ resourceId }) => {
        if (resourceId === 'name that is settled') order.push('released')
      }
      subscribe('lock-inc:release', released)
      try {
        const settled = holder.done.then(() => order.push('settled'))
        holder.work.then(() => order.push('end of the work'))
        holder.release()
        await settled
      } finally {
        unsubscribe('lock-inc:release', released)
      }
      expect(order).toEqual(['end of the work', 'released', 'settled'])
      expect(await isFree(newLocker(), 'name that is settled')).toBe(true)
    })

    it.each([
      [
        'throws',
        (error) => () => {
          throw error
        },
      ],
      ['returns a promise that rejects', (error) => () => Promise.reject(error)],
    ])('rejects with the same value, and releases the lock, when it %s', async (_, failing) => {
      const locker = newLocker()
      for (const thrown of [{ name: 'test' }, new Error('test'), 123, undefined]) {
        const requested = locker.request('name', failing(thrown))
        expect(requested).toBeInstanceOf(Promise)
        expect(await rejection(requested)).toBe(thrown)
        expect(await isFree(locker, 'name')).toBe(true)
      }
    })

    it('keeps requests out that are made in it', async () => {
      const locker = newLocker()
      await locker.request('name', async () => {
        expect(await isFree(locker, 'name')).toBe(false)
      })
    })

    it('grants another name to a request that is made in it, and the same name after it', async () => {
      const locker = newLocker()
      const granted = []
      let inner
      await locker.request('a', async () => {
        const blocked = locker.request('a', () => granted.push('a'))
        const other = locker.request('b', () => granted.push('b'))
        inner = Promise.all([blocked, other])
        await other
        await waiting('a', 1)
      })
      await inner
      expect(granted).toEqual(['b', 'a'])
    })
  })

  describe('with its mode,', () => {
    it.each(['exclusive', 'shared'])('is granted in the order in which it was made (%s)', async (mode) => {
      const locker = newLocker()
      const granted = { a: [], b: [], c: [] }
      const requests = []
      for (let round = 1; round <= 5; round++) {
        for (const name of ['a', 'b', 'c']) {
          requests.push(locker.request(name, { mode }, () => granted[name].push(round)))
        }
      }
      await Promise.all(requests)
      expect(granted).toEqual({ a: [1, 2, 3, 4, 5], b: [1, 2, 3, 4, 5], c: [1, 2, 3, 4, 5] })
    })

    it('is granted beside others if all of them are shared', async () => {
      const locker = newLocker()
      const nested = await locker.request('name', shared, () =>
        locker.request('name', shared, (lock) => lock.mode),
      )
      expect(nested).toBe('shared')
    })

    it('waits for all that share the lock if it is exclusive, while other names are granted', async () => {
      const locker = newLocker()
      const readers = await Promise.all([1, 2, 3].map(() => hold(locker, 'a', shared)))
      const order = []
      const writer = locker.request('a', ({ mode }) => order.push(`a: ${mode}`))
      await waiting('a', 1)
      await locker.request('b', ({ mode }) => order.push(`b: ${mode}`))
      for (const reader of readers) {
        expect(order).toEqual(['b: exclusive'])
        reader.release()
        await reader.done
      }
      await writer
      expect(order).toEqual(['b: exclusive', 'a: exclusive'])
    })

    it('does not overtake an exclusive one if it is shared, though the lock is', async () => {
      const locker = newLocker()
      const reader = await hold(locker, 'name', shared)
      const order = []
      const writer = locker.request('name', () => order.push('writer'))
      await waiting('name', 1)
      const late = locker.request('name', shared, () => order.push('late'))
      await waiting('name', 2)
      expect(order).toEqual([])
      reader.release()
      await Promise.all([writer, late])
      expect(order).toEqual(['writer', 'late'])
    })
  })

  describe('with ifAvailable,', () => {
    it('gets a lock that nobody has', async () => {
      const lock = await newLocker().request('name', ifAvailable, (lock) => lock)
      expect(lock).toMatchObject({ name: 'name', mode: 'exclusive' })
    })

    it.each([
      ['null where it is held', {}, {}, null],
      ['null for an exclusive one where it is shared', shared, {}, null],
      ['null for a shared one where it is exclusive', {}, shared, null],
      ['the lock for a shared one where it is shared', shared, shared, 'shared'],
    ])('gets %s', async (_, of, options, expected) => {
      const locker = newLocker()
      await hold(locker, 'name', of)
      const mode = await locker.request('name', { ...options, ...ifAvailable }, (lock) => lock?.mode ?? null)
      expect(mode).toBe(expected)
    })

    it('gets a lock while others are held', async () => {
      const locker = newLocker()
      await hold(locker, 'name')
      expect(await isFree(locker, 'different')).toBe(true)
    })

    it('gets null where others wait, though the lock could be shared', async () => {
      const locker = newLocker()
      const reader = await hold(locker, 'name', shared)
      const writer = locker.request('name', idle)
      await waiting('name', 1)
      expect(await isFree(locker, 'name', shared)).toBe(false)
      reader.release()
      await writer
      expect(await isFree(locker, 'name', shared)).toBe(true)
    })

    it('passes on what the callback does with null', async () => {
      const locker = newLocker()
      await hold(locker, 'name')
      const thrown = { name: 'test' }
      const failing = (lock) => {
        throw lock ?? thrown
      }
      expect(await locker.request('name', ifAvailable, async (lock) => lock ?? 123)).toBe(123)
      expect(await rejection(locker.request('name', ifAvailable, failing))).toBe(thrown)
      expect(await rejection(locker.request('name', ifAvailable, async (lock) => failing(lock)))).toBe(thrown)
    })

    it('gets a lock as soon as the request before it has settled', async () => {
      const locker = newLocker()
      await locker.request('outer', async () => {
        for (let round = 0; round < 5; round++) {
          await locker.request('name', idle)
          expect(await isFree(locker, 'name')).toBe(true)
        }
      })
    })
  })

  describe('with steal,', () => {
    it('gets a lock that nobody has', async () => {
      expect(await newLocker().request('name', steal, (lock) => lock.mode)).toBe('exclusive')
    })

    it('gets one that is held, and the request of its holder rejects though its callback goes on', async () => {
      const locker = newLocker()
      const holder = await hold(newLocker(), 'name')
      const robbed = rejection(holder.done)
      const thief = await hold(locker, 'name', steal)
      expect(thief.lock).toMatchObject({ name: 'name', mode: 'exclusive' })
      const error = await robbed
      expect(error).toBeInstanceOf(DOMException)
      expect(error.name).toBe('AbortError')
      holder.release()
      await holder.work
      // What was stolen is not released by its former holder.
      expect(await isFree(newLocker(), 'name')).toBe(false)
      thief.release('done')
      expect(await thief.done).toBe('done')
      expect(await isFree(newLocker(), 'name')).toBe(true)
    })

    it('gets it from all who share it', async () => {
      const holders = await Promise.all([1, 2, 3].map(() => hold(newLocker(), 'name', shared)))
      const robbed = Promise.all(holders.map(({ done }) => rejection(done)))
      await newLocker().request('name', steal, idle)
      expect((await robbed).map(({ name }) => name)).toEqual(['AbortError', 'AbortError', 'AbortError'])
    })

    it('goes before those who wait, who go on waiting in their order', async () => {
      const locker = newLocker()
      const holder = await hold(locker, 'name')
      const robbed = rejection(holder.done)
      const order = []
      const first = locker.request('name', () => order.push('first'))
      await waiting('name', 1)
      const second = locker.request('name', () => order.push('second'))
      await waiting('name', 2)
      const thief = await hold(locker, 'name', steal)
      expect((await robbed).name).toBe('AbortError')
      order.push('thief')
      await waiting('name', 2)
      thief.release()
      await Promise.all([thief.done, first, second])
      expect(order).toEqual(['thief', 'first', 'second'])
    })

    it('leaves other names alone', async () => {
      const locker = newLocker()
      const other = await hold(locker, 'other')
      await locker.request('name', steal, idle)
      expect(await isFree(locker, 'other')).toBe(false)
      other.release('kept')
      expect(await other.done).toBe('kept')
    })

    it('is stolen from by the next one', async () => {
      const locker = newLocker()
      const first = await hold(locker, 'name', steal)
      const robbed = rejection(first.done)
      expect(await locker.request('name', steal, () => 'last')).toBe('last')
      expect((await robbed).name).toBe('AbortError')
    })

    it('keeps the lock if it is the last of several that were made at once', async () => {
      const locker = newLocker()
      let begin
      const begun = new Promise((resolve) => {
        begin = resolve
      })
      const robbed = [1, 2, 3, 4].map(() => rejection(locker.request('name', steal, () => new Promise(idle))))
      const last = locker.request('name', steal, () => begin())
      await begun
      expect((await Promise.all(robbed)).map(({ name }) => name)).toEqual(Array(4).fill('AbortError'))
      await last
    })
  })

  describe('with a signal,', () => {
    it('refuses what is none', async () => {
      const locker = newLocker()
      const never = jest.fn()
      for (const signal of ['string', 12.34, false, {}, Symbol('signal'), idle, globalThis]) {
        expect(await rejection(locker.request('name', { signal }, never))).toBeInstanceOf(TypeError)
      }
      expect(never).not.toHaveBeenCalled()
    })

    it.each([
      ['of its own', () => AbortSignal.abort('my reason')],
      ['that is no value at all', () => AbortSignal.abort(null)],
      ['that it has by default', () => AbortSignal.abort()],
    ])('that has aborted rejects with the reason %s', async (_, make) => {
      const locker = newLocker()
      const never = jest.fn()
      const signal = make()
      expect(await rejection(locker.request('free', { signal }, never))).toBe(signal.reason)
      await hold(locker, 'name')
      expect(await rejection(locker.request('name', { signal }, never))).toBe(signal.reason)
      expect(never).not.toHaveBeenCalled()
      expect(await isFree(locker, 'free')).toBe(true)
      await waiting('name', 0)
    })

    it.each([
      ['of its own', 'my reason'],
      ['that it has by default', undefined],
    ])('stops waiting with the reason %s', async (_, reason) => {
      const locker = newLocker()
      const holder = await hold(locker, 'name')
      const never = jest.fn()
      const controller = new AbortController()
      const rejected = rejection(locker.request('name', { signal: controller.signal }, never))
      await waiting('name', 1)
      controller.abort(reason)
      expect(await rejected).toBe(controller.signal.reason)
      await waiting('name', 0)
      holder.release()
      await holder.done
      expect(await isFree(locker, 'name')).toBe(true)
      expect(never).not.toHaveBeenCalled()
    })

    it('is granted if that does not abort', async () => {
      const { signal } = new AbortController()
      expect(await newLocker().request('name', { signal }, (lock) => lock.name)).toBe('name')
    })

    it('is not granted if that aborts in the same breath, and keeps nobody else out', async () => {
      const locker = newLocker()
      const never = jest.fn()
      const controller = new AbortController()
      const rejected = rejection(locker.request('name', { signal: controller.signal }, never))
      const next = locker.request('name', () => 'next')
      controller.abort()
      expect(await rejected).toBe(controller.signal.reason)
      expect(await next).toBe('next')
      expect(never).not.toHaveBeenCalled()
    })

    it('is not granted if that aborts just before the callback', async () => {
      const locker = newLocker()
      const never = jest.fn()
      const controller = new AbortController()
      const abort = () => queueMicrotask(() => controller.abort())
      subscribe('lock-inc:acquire', abort)
      const rejected = rejection(locker.request('name', { signal: controller.signal }, never))
      try {
        expect(await rejected).toBe(controller.signal.reason)
      } finally {
        unsubscribe('lock-inc:acquire', abort)
      }
      expect(never).not.toHaveBeenCalled()
      expect(await locker.request('name', () => 'next')).toBe('next')
    })

    it('is not touched if that aborts while it holds the lock, or later', async () => {
      const locker = newLocker()
      for (const when of ['while it holds', 'when it is released', 'later']) {
        const controller = new AbortController()
        const holder = await hold(locker, 'name', { signal: controller.signal })
        if (when === 'while it holds') {
          controller.abort()
          expect(await isFree(locker, 'name')).toBe(false)
        }
        holder.release(when)
        if (when === 'when it is released') controller.abort()
        expect(await holder.done).toBe(when)
        if (when === 'later') controller.abort()
        expect(await isFree(locker, 'name')).toBe(true)
      }
    })

    it('lets the next ones in when that aborts', async () => {
      const locker = newLocker()
      const reader = await hold(locker, 'name', shared)
      const controller = new AbortController()
      const writer = rejection(locker.request('name', { signal: controller.signal }, idle))
      await waiting('name', 1)
      const behind = [1, 2].map((count) => locker.request('name', shared, () => count))
      await waiting('name', 3)
      controller.abort()
      expect(await writer).toBe(controller.signal.reason)
      // Whoever had the lock all the time still has it.
      expect(await Promise.all(behind)).toEqual([1, 2])
      expect(await isFree(locker, 'name')).toBe(false)
      reader.release()
      await reader.done
    })

    it('stops waiting with all others of the same signal', async () => {
      const locker = newLocker()
      const holder = await hold(locker, 'name')
      const controller = new AbortController()
      const { signal } = controller
      const rejected = [1, 2, 3].map(() => rejection(locker.request('name', { signal }, idle)))
      const without = locker.request('name', () => 'granted')
      await waiting('name', 4)
      controller.abort('all of them')
      expect(await Promise.all(rejected)).toEqual(['all of them', 'all of them', 'all of them'])
      holder.release()
      expect(await without).toBe('granted')
    })
  })

  describe('among others,', () => {
    it('meets those of its prefix, as in a storage bucket, and no others', async () => {
      const [a, b] = [`${scene.prefix}a:`, `${scene.prefix}b:`]
      await hold(newLocker(a), 'name')
      expect(await isFree(newLocker(a), 'name')).toBe(false)
      expect(await isFree(newLocker(b), 'name')).toBe(true)
    })

    it('has the client id of its locker', async () => {
      const [one, other] = [newLocker(), newLocker()]
      await Promise.all([hold(one, 'a'), hold(one, 'b'), hold(other, 'c')])
      const ids = {}
      for (const name of ['a', 'b', 'c']) ids[name] = (await introduced(one, name)).clientId
      expect(ids.a).toMatch(/./)
      expect(ids.b).toBe(ids.a)
      expect(ids.c).not.toBe(ids.a)
    })

    it('rejects when its locker is closed, before it is made or while it waits', async () => {
      const locker = newLocker()
      await hold(newLocker(), 'name')
      const never = jest.fn()
      const rejected = rejection(locker.request('name', never))
      await waiting('name', 1)
      await locker.close()
      expect((await rejected).code).toBe('ERR_CLOSED')
      await waiting('name', 0)
      expect((await rejection(locker.request('free', never))).code).toBe('ERR_CLOSED')
      expect(never).not.toHaveBeenCalled()
    })

    it('shares a lock with a worker', async () => {
      const worker = startWorker(specOf(scene.prefix))
      const held = await worker.hold('name', shared)
      await newLocker().request('name', shared, async () => {
        held.release()
        await held.done
      })
      await worker.terminate()
    })

    it('waits for a worker, and a worker for another one', async () => {
      const locker = newLocker()
      const [first, second] = [startWorker(specOf(scene.prefix)), startWorker(specOf(scene.prefix))]
      const order = []
      const held = await first.hold('name')
      const here = locker.request('name', () => order.push('here'))
      await waiting('name', 1)
      const there = second.hold('name').then((held) => {
        order.push('there')
        return held
      })
      await waiting('name', 2)
      expect(await isFree(locker, 'name')).toBe(false)
      expect(order).toEqual([])
      held.release()
      await here
      const last = await there
      expect(await isFree(locker, 'name')).toBe(false)
      last.release()
      await last.done
      expect(await isFree(locker, 'name')).toBe(true)
      expect(order).toEqual(['here', 'there'])
      await Promise.all([first.terminate(), second.terminate()])
    })

    it('is granted when a worker was terminated that held the lock, at the end of its lease', async () => {
      const locker = newLocker()
      const worker = startWorker(specOf(scene.prefix))
      await worker.hold('name', { expire: 1 })
      const blocked = locker.request('name', (lock) => lock.name)
      await waiting('name', 1)
      await worker.terminate()
      expect(await blocked).toBe('name')
    })
  })
})

/** A request that has been granted. It holds the lock until `release` or `fail` is called: then `done` settles. */
async function hold(locker, name, options = {}) {
  let release
  let fail
  const work = new Promise((resolve, reject) => {
    release = resolve
    fail = reject
  })
  return new Promise((granted, reject) => {
    const done = locker.request(name, options, (lock) => {
      granted({ lock, work, release, fail, done })
      return work
    })
    done.catch(reject)
  })
}

/** A worker that makes requests, each of which holds its lock until it is told to end. */
function startWorker(spec) {
  const code = `
    const { parentPort, workerData } = require('node:worker_threads')
    const locker = require(workerData.module)(workerData.spec)
    const releases = new Map()
    parentPort.on('message', async ({ id, name, options }) => {
      if (releases.has(id)) return releases.get(id)()
      await locker.request(name, options, () => {
        const work = new Promise((resolve) => releases.set(id, resolve))
        parentPort.postMessage({ id, what: 'granted' })
        return work
      })
      parentPort.postMessage({ id, what: 'done' })
    })
  `
  const worker = new Worker(code, { eval: true, workerData: { module: require.resolve('..'), spec } })
  const heard = []
  worker.on('message', ({ id, what }) => heard.push(`${id} ${what}`))
  let count = 0
  return {
    async hold(name, options = {}) {
      const id = count++
      const hears = (what) => until(() => heard.includes(`${id} ${what}`), `a worker's request is ${what}`)
      worker.postMessage({ id, name, options })
      await hears('granted')
      return {
        release: () => worker.postMessage({ id }),
        get done() {
          return hears('done')
        },
      }
    },
    terminate: () => worker.terminate(),
  }
}
