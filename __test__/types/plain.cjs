// JavaScript with `checkJs`: require() has the types too.
const lockFactory = require('lock-inc')
const { hash, ResourceLockedError } = require('lock-inc')

const locker = lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } })

/** @type {string} */
const name = hash('User:1602')

/** @type {(lock: lockFactory.Lock) => Promise<boolean>} */
const release = (lock) => lock.unlock()

locker
  .lock(name)
  .then(release, (error) => error instanceof ResourceLockedError && error.details.numberOfLocks)

locker.request('User:1602', { ifAvailable: true }, (lock) => (lock ? lock.token : 0))

// @ts-expect-error
lockFactory({ driver: 'memory' })
