'use strict'

// The usage of lock-inc 1.2.0, against the Redis in REDIS_URL.

const lockFactory = require('..')

const { ResourceLockedError } = lockFactory

const locker = lockFactory({
  driver: 'redis',
  config: { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' },
  settings: {
    // Nobody else's: purge() below removes every lock under it.
    prefix: 'lock-inc-example:',
  },
})

async function main() {
  // Simple locking.
  await locker.lock('User:1602').then((lock) => {
    console.log(`locked ${lock.resourceId} as ${lock.key}, token ${lock.token}`)
    return doSomethingAsync().then(lock.unlock)
  })
  console.log('unlocked; isLocked says', await locker.isLocked('User:1602'))

  // Somebody else holds it.
  await locker.lock('User:1602', { expire: 1 })
  await locker.lock('User:1602').catch((error) => {
    if (!(error instanceof ResourceLockedError)) throw error
    console.log(`${error.message}: held by process ${error.holder?.pid}, for ${error.leaseLeft} ms at most`)
  })

  // It expires by itself, so waiting will do.
  const lock = await locker.lock('User:1602', { timeout: 2000 })
  console.log(`expired and taken again, token ${lock.token}`)

  // All locks under the prefix are removed, this one too.
  await locker.purge()
  console.log('purged; unlock now resolves to', await lock.unlock())
}

function doSomethingAsync() {
  return new Promise((resolve) => setTimeout(resolve, 50))
}

main()
  .catch((error) => {
    console.error(`${error.name} (${error.code}): ${error.message}`)
    process.exitCode = 1
  })
  .finally(() => locker.close())
