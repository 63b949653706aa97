'use strict'

module.exports = async function makeReport(locker, day, write) {
  const lock = await locker.tryLock(`report:${day}`, { expire: '30s', renew: true })
  if (lock === null) return 'somebody else makes it'
  try {
    for (const page of ['first', 'second']) {
      if (!lock.held) return 'lost the lock'
      await write(page, { signal: lock.signal, token: lock.token })
    }
    return 'made'
  } finally {
    await lock.unlock()
  }
}
