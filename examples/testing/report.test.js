'use strict'

const { randomUUID } = require('node:crypto')
const { once } = require('node:events')
const makeLocker = require('./locker')
const makeReport = require('./report')

let locker
let rival

beforeEach(() => {
  const prefix = `test:${randomUUID()}:`
  // The rival stands for another process.
  ;[locker, rival] = [makeLocker(prefix), makeLocker(prefix)]
})

afterEach(() => Promise.all([locker.close(), rival.close()]))

test('the report is made once', async () => {
  const write = jest.fn()
  const outcomes = await Promise.all([
    makeReport(locker, 'monday', write),
    makeReport(rival, 'monday', write),
  ])
  expect(outcomes.sort()).toEqual(['made', 'somebody else makes it'])
  expect(write).toHaveBeenCalledTimes(2)
})

test('the report ends when the lock is lost', async () => {
  const write = jest.fn(async (_page, { signal }) => {
    await rival.forceUnlock('report:monday')
    // In Redis it is a message that tells the holder.
    if (!signal.aborted) await once(signal, 'abort')
  })
  expect(await makeReport(locker, 'monday', write)).toBe('lost the lock')
  expect(write).toHaveBeenCalledTimes(1)
})

test('the lock is given up when writing fails', async () => {
  const failing = () => Promise.reject(new Error('disk full'))
  await expect(makeReport(locker, 'monday', failing)).rejects.toThrow('disk full')
  expect(await rival.isLocked('report:monday')).toBe(false)
})

test('the time can be faked, of which leases take no notice', async () => {
  jest.useFakeTimers()
  const lock = await locker.lock('report:monday', { expire: '1h' })
  jest.advanceTimersByTime(24 * 3600 * 1000)
  expect(lock.held).toBe(true)
  jest.useRealTimers()
})
