'use strict'

// A job that runs once at each tick, however many processes have the same schedule.
//
// Run it in several terminals: EVERY=2000 REDIS_URL=redis://localhost:6379 node examples/cron-once.js

const lockFactory = require('lock-inc')

const locker = lockFactory({
  driver: 'redis',
  config: { url: process.env.REDIS_URL },
  settings: { prefix: 'example:' },
})

/** Does the work, unless some process has done so for this tick. Resolves to whether this one has. */
async function once(job, tick, work) {
  // Not unlocked when the work is done: the lease keeps the tick from processes whose clocks are late.
  const lock = await locker.tryLock(`${job}:${tick}`, { expire: '1h' })
  if (lock !== null) await work(lock)
  return lock !== null
}

/** Calls back at each multiple of so many milliseconds, with the number of that. */
function schedule(every, callback) {
  const tick = Math.floor(Date.now() / every) + 1
  setTimeout(
    () => {
      schedule(every, callback)
      callback(tick)
    },
    tick * every - Date.now(),
  )
}

schedule(Number(process.env.EVERY ?? 60_000), async (tick) => {
  const isOurs = await once('report', tick, makeReport)
  console.log(`report ${tick}: ${isOurs ? 'made here' : 'made by another process'}`)
})

async function makeReport({ token }) {
  console.log(`making a report, token ${token}`)
}
