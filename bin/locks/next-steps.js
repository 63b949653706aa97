'use strict'

const { span } = require('../text/words')

/** What comes next for a holder. @param {import('../..').InspectedHolder} holder */
function nextOfHolder({ leaseLeft }) {
  return `unlocks, renews, or ends in ${span(leaseLeft)}`
}

/**
 * What comes next for each of those who wait. Limits are not told, but a shared lock that waits beside shared ones has one.
 *
 * @param {import('../..').Inspection} inspection
 */
function nextOfWaiters({ holders, waiters }) {
  return waiters.map(({ mode }, index) => {
    const before = waiters[index - 1]
    if (before === undefined) return nextOfFirst(mode, holders)
    const isBeside = mode === 'shared' && before.mode === 'shared'
    return isBeside ? `with number ${index}, if its limit allows` : `after number ${index}`
  })
}

/** @param {import('../..').LockMode} mode @param {readonly import('../..').InspectedHolder[]} holders */
function nextOfFirst(mode, holders) {
  const [holder] = holders
  if (holder === undefined) return 'next, now'
  if (holder.mode === 'shared' && mode === 'shared') return 'next, when fewer than its limit are left'
  if (holders.length > 1) return `next, when all ${holders.length} holders have gone`
  return 'next, at the unlock or the end of the lease'
}

module.exports = { nextOfHolder, nextOfWaiters }
