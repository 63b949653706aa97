'use strict'

const {
  E_ALREADY_LOCKED,
  E_CANCELED,
  E_TIMEOUT,
  Mutex,
  Semaphore,
  tryAcquire,
  withTimeout,
} = require('async-mutex')
const lockFactory = require('../..')
const { expectRenewal, migrating, timed } = require('../support/migrating')
const { lockerScene } = require('../support/scene')
const { rejection } = require('../support/until')

const { ResourceLockedError } = lockFactory
const timeout = Number.POSITIVE_INFINITY
const shared = { mode: 'shared', limit: 2 }

const scene = lockerScene((prefix) => ({ driver: 'memory', settings: { prefix } }))
let mutex
let semaphore
let locker
/** Another one. */
let rival

beforeEach(() => {
  mutex = new Mutex()
  semaphore = new Semaphore(2)
  locker = scene.newLocker()
  rival = scene.newLocker()
})

const work = () => 'done'
const scope = () => ({
  mutex,
  semaphore,
  locker,
  work,
  Mutex,
  Semaphore,
  tryAcquire,
  withTimeout,
  lockFactory,
})

/** Somebody else has the lock, in both. */
async function taken() {
  const release = await mutex.acquire()
  const lock = await rival.lock('invoice')
  return { release, lock, giveUp: () => [release(), lock.unlock()][1] }
}

/** Somebody else has all permits, or some of them, in both. */
async function permitsTaken(number) {
  const holders = []
  for (let turn = 0; turn < number; turn++) {
    const [, release] = await semaphore.acquire()
    const lock = await rival.lock('mail', shared)
    holders.push(() => [release(), lock.unlock()][1])
  }
  return holders
}

/** That both calls wait until somebody gives something up. What they resolve to. */
async function expectToWait({ old, here }, name, giveUp) {
  const events = []
  const waits = [old(), here()].map(async (call) => {
    const answer = await call
    events.push('granted')
    return answer
  })
  await scene.waiting(name, 1)
  events.push('given up')
  await giveUp()
  const answers = await Promise.all(waits)
  expect(events).toEqual(['given up', 'granted', 'granted'])
  return answers
}

/** The calls run the work under the lock, pass on what it returns or throws, and unlock afterwards. */
async function expectToRun({ old, here }, isHeld) {
  const seen = []
  const look = (kind) => async () => {
    seen.push((await isHeld())[kind])
    return 'done'
  }
  expect(await old({ work: look('old') })).toBe('done')
  expect(await here({ work: look('here') })).toBe('done')
  expect(seen).toEqual([true, true])
  const broken = () => Promise.reject(new Error('broken'))
  for (const run of [old, here]) expect((await rejection(run({ work: broken }))).message).toBe('broken')
  expect(await isHeld()).toEqual({ old: false, here: false })
}

const isHeld = async () => ({ old: mutex.isLocked(), here: await rival.isLocked('invoice') })
const isPermitHeld = async () => ({ old: semaphore.getValue() < 2, here: await rival.isLocked('mail') })

describe('from async-mutex', () => {
  migrating('From async-mutex', scope, {
    'new Mutex()': async ({ old, here }) => {
      const [theirs, [ours, other]] = [
        [await old(), await old()],
        [await here(), await here()],
      ]
      await theirs[0].acquire()
      expect(theirs[1].isLocked()).toBe(false)
      const lock = await ours.lock(scene.prefix)
      expect(await other.isLocked(scene.prefix)).toBe(true)
      expect(await other.isLocked(`${scene.prefix}other`)).toBe(false)
      await lock.unlock()
      await Promise.all([ours.close(), other.close()])
    },

    'await mutex.runExclusive(work)': async (code) => {
      await expectToRun(code, isHeld)
      await expectToWait(code, 'invoice', (await taken()).giveUp)
      const work = jest.fn()
      await code.old({ work })
      await code.here({ work })
      expect(work.mock.calls).toEqual([[], [expect.objectContaining({ name: 'invoice' })]])
    },

    'const release = await mutex.acquire()': async (code) => {
      const [release, lock] = await expectToWait(code, 'invoice', (await taken()).giveUp)
      expect(lock.remaining()).toBeLessThanOrEqual(60_000)
      expect(await isHeld()).toEqual({ old: true, here: true })
      expect(await rejection(locker.lock('invoice'))).toBeInstanceOf(ResourceLockedError)
      release()
      expect(await lock.unlock()).toBe(true)
      expect(await isHeld()).toEqual({ old: false, here: false })
      await expectRenewal(code.here, locker)
    },

    'release()': async ({ old, here }) => {
      const holder = await taken()
      expect(await old(holder)).toBeUndefined()
      expect(await here(holder)).toBe(true)
      expect(await isHeld()).toEqual({ old: false, here: false })
      expect(await old(holder)).toBeUndefined()
      expect((await rejection(here(holder))).message).toBe('Not locked')

      const lost = await taken()
      await locker.forceUnlock('invoice')
      expect(await here(lost)).toBe(false)
    },

    'mutex.release()': async ({ old, here }) => {
      const holder = await taken()
      expect(await here()).toBe(false)
      expect(holder.lock.held).toBe(true)
      await old()
      expect(await here({ locker: rival })).toBe(true)
      expect(await isHeld()).toEqual({ old: false, here: false })
    },

    'mutex.isLocked()': async ({ old, here }) => {
      for (const run of [old, here]) expect(await run()).toBe(false)
      const holder = await taken()
      for (const run of [old, here]) expect(await run()).toBe(true)
      await holder.giveUp()
      for (const run of [old, here]) expect(await run()).toBe(false)
    },

    'await mutex.waitForUnlock()': async (code) => {
      await expectToWait(code, 'invoice', (await taken()).giveUp)
      expect(await isHeld()).toEqual({ old: false, here: false })
    },

    'mutex.cancel()': async ({ old, here }) => {
      const holder = await taken()
      const controller = new AbortController()
      const theirs = rejection(mutex.acquire())
      const ours = rejection(locker.lock('invoice', { timeout, signal: controller.signal }))
      await scene.waiting('invoice', 1)
      const another = locker.lock('invoice', { timeout })
      await scene.waiting('invoice', 2)
      await old()
      await here({ controller })
      expect(await theirs).toBe(E_CANCELED)
      expect(await ours).toBe(controller.signal.reason)
      await holder.giveUp()
      expect((await another).held).toBe(true)
    },

    'await withTimeout(mutex, 50).acquire()': async ({ old, here }) => {
      const release = await old()
      const lock = await here()
      expect(await isHeld()).toEqual({ old: true, here: true })
      release()
      await lock.unlock()
      await expectRenewal(here, locker)
      const holder = await taken()
      const [theirs, ours] = await Promise.all([old, here].map(timed))
      expect(theirs.answer).toBe(E_TIMEOUT)
      expect(ours.answer).toBeInstanceOf(ResourceLockedError)
      for (const { time } of [theirs, ours]) expect(time).toBeGreaterThanOrEqual(50)
      await holder.giveUp()
    },

    'await withTimeout(mutex, 50).runExclusive(work)': async (code) => {
      await expectToRun(code, isHeld)
      const holder = await taken()
      const work = jest.fn()
      expect(await rejection(code.old({ work }))).toBe(E_TIMEOUT)
      expect(await rejection(code.here({ work }))).toBeInstanceOf(ResourceLockedError)
      expect(work).not.toHaveBeenCalled()
      await holder.giveUp()
    },

    'await tryAcquire(mutex).acquire()': async ({ old, here }) => {
      const release = await old()
      const lock = await here()
      expect(await isHeld()).toEqual({ old: true, here: true })
      expect(await rejection(old())).toBe(E_ALREADY_LOCKED)
      expect(await here()).toBeNull()
      release()
      await lock.unlock()
      await expectRenewal(here, locker)
    },

    'await tryAcquire(mutex).runExclusive(work)': async (code) => {
      await expectToRun(code, isHeld)
      const holder = await taken()
      const work = jest.fn(() => 'refused')
      expect(await rejection(code.old({ work }))).toBe(E_ALREADY_LOCKED)
      expect(await code.here({ work })).toBe('refused')
      expect(work.mock.calls).toEqual([[null]])
      await holder.giveUp()
    },

    'const [value, release] = await semaphore.acquire()': async ({ old, here }) => {
      const [, release] = await old()
      const permit = await here()
      const [giveUp] = await permitsTaken(1)
      const answers = await expectToWait({ old, here }, 'mail', giveUp)
      const [[, releaseOther], other] = answers
      expect(await rival.tryLock('mail', { ...shared, limit: 3 })).not.toBeNull()
      release()
      releaseOther()
      expect(await permit.unlock()).toBe(true)
      expect(await other.unlock()).toBe(true)
      await expectRenewal(here, locker)
    },

    'await semaphore.runExclusive(work)': async (code) => {
      await expectToRun(code, isPermitHeld)
      await expectToWait(code, 'mail', (await permitsTaken(2))[0])
      const work = jest.fn()
      await code.old({ work })
      await code.here({ work })
      expect(work.mock.calls).toEqual([[1], [expect.objectContaining({ name: 'mail', mode: 'shared' })]])
    },

    'semaphore.getValue()': async ({ old, here }) => {
      for (const value of [2, 1]) {
        for (const run of [old, here]) expect(await run()).toBe(value)
        await permitsTaken(1)
      }
      for (const run of [old, here]) expect(await run()).toBe(0)
    },

    'semaphore.isLocked()': async ({ old, here }) => {
      for (const run of [old, here]) expect(await run()).toBe(false)
      const [giveUp] = await permitsTaken(1)
      for (const run of [old, here]) expect(await run()).toBe(false)
      expect(await locker.isLocked('mail')).toBe(true)
      await permitsTaken(1)
      for (const run of [old, here]) expect(await run()).toBe(true)
      await giveUp()
      for (const run of [old, here]) expect(await run()).toBe(false)
    },

    'await semaphore.acquire(2)': async (code) => {
      const [[, release], lock] = await expectToWait(code, 'mail', (await permitsTaken(1))[0])
      expect(semaphore.getValue()).toBe(0)
      expect(await rival.tryLock('mail', shared)).toBeNull()
      release()
      expect(await lock.unlock()).toBe(true)
      await expectRenewal(code.here, locker)
    },

    'semaphore.setValue(1)': async ({ old, here }) => {
      await permitsTaken(2)
      const third = semaphore.acquire()
      await old()
      await third
      const lock = await here()
      expect(semaphore.isLocked()).toBe(true)
      const fourth = here()
      await scene.waiting('mail', 1)
      await lock.unlock()
      expect(await (await fourth).unlock()).toBe(true)
      await expectRenewal(here, locker)
    },

    'await mutex.runExclusive(work, 1)': async ({ old }) => {
      const holder = await taken()
      const order = []
      const late = mutex.runExclusive(() => order.push('late'))
      const urgent = old({ work: () => order.push('urgent') })
      await holder.giveUp()
      await Promise.all([late, urgent])
      expect(order).toEqual(['urgent', 'late'])
      const error = await rejection(locker.request('invoice', { priority: 1 }, work))
      expect(error.code).toBe('ERR_UNKNOWN_OPTION')
    },
  })
})
