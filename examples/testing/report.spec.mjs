import { expect, test, vi } from 'vitest'
import makeLocker from './locker.js'
import makeReport from './report.js'

test('the report is made once', async () => {
  const [locker, rival] = [makeLocker('test:once:'), makeLocker('test:once:')]
  const write = vi.fn()
  const outcomes = await Promise.all([
    makeReport(locker, 'monday', write),
    makeReport(rival, 'monday', write),
  ])
  expect(outcomes.sort()).toEqual(['made', 'somebody else makes it'])
  expect(write).toHaveBeenCalledTimes(2)
  await Promise.all([locker.close(), rival.close()])
})
