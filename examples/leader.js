'use strict'

// One leader among any number of processes. One that is told to stop hands over at once; the place of one that dies is
// free when its lease has ended.
//
// Run it in several terminals, and end the leader: REDIS_URL=redis://localhost:6379 node examples/leader.js

const { setTimeout: sleep } = require('node:timers/promises')
const lockFactory = require('lock-inc')

const locker = lockFactory({
  driver: 'redis',
  config: { url: process.env.REDIS_URL },
  settings: { prefix: 'example:' },
})
const stop = new AbortController()
process.once('SIGTERM', () => stop.abort())
process.once('SIGINT', () => stop.abort())

async function main() {
  while (!stop.signal.aborted) {
    // Waits for its turn, renews the lock while the callback runs, and gives it up when that has settled.
    await locker.request('leader', { expire: '5s', signal: stop.signal }, ({ signal, token }) =>
      lead(AbortSignal.any([signal, stop.signal]), token),
    )
  }
}

/** What only the leader does, until the signal says that it must not any more. */
async function lead(signal, token) {
  console.log(`process ${process.pid} leads, token ${token}`)
  while (!signal.aborted) {
    await sleep(1000, undefined, { signal }).catch(() => {})
  }
  console.log(`process ${process.pid} steps down`)
}

main()
  .catch((error) => {
    // Told to stop while it waited.
    if (!stop.signal.aborted) throw error
  })
  .finally(() => locker.close())
