'use strict'

// How a fencing token protects a write: the store remembers the greatest token it has seen and refuses smaller ones.
//
// The store is Redis here, through any client; a database does the same with
//   UPDATE account SET balance = ?, token = ? WHERE id = ? AND token <= ?
//
// Run it with REDIS_URL=redis://localhost:6379 node examples/fencing.js

const assert = require('node:assert')
const redis = require('redis')
const lockFactory = require('..')

const url = process.env.REDIS_URL ?? 'redis://localhost:6379'

/** Writes a value unless a holder with a greater token has been here. Compared and written in one step. */
const WRITE = `
  local seen = tonumber(redis.call('HGET', KEYS[1], 'token') or 0)
  if tonumber(ARGV[1]) < seen then return 0 end
  redis.call('HSET', KEYS[1], 'token', ARGV[1], 'value', ARGV[2])
  return 1
`

async function main() {
  const client = redis.createClient({ url })
  const write = (token, value) =>
    new Promise((resolve, reject) => {
      client.eval(WRITE, 1, 'example:account', token, value, (error, accepted) =>
        error ? reject(error) : resolve(accepted === 1),
      )
    })
  const anna = lockFactory({ driver: 'redis', config: { url }, settings: { prefix: 'example:lock:' } })
  const ben = lockFactory({ driver: 'redis', config: { url }, settings: { prefix: 'example:lock:' } })

  // Anna takes the lock and is held up: a long pause, a swapped out process, a slow disk.
  const late = await anna.lock('account', { expire: 0.2, timeout: 5000 })
  // Meanwhile her lease ends, and Ben gets the lock and writes.
  const inTime = await ben.lock('account', { timeout: 5000 })
  const written = await write(inTime.token, 'by Ben')
  console.log(`Ben writes with token ${inTime.token}: ${written ? 'accepted' : 'refused'}`)
  assert(written)

  // Anna goes on. She could have known, but between a look at the clock and a write anything can happen.
  console.log(`Anna's lock is ${late.held ? 'held' : 'lost'}`)
  assert(!late.held)
  const overwritten = await write(late.token, 'by Anna')
  console.log(`Anna writes with token ${late.token}: ${overwritten ? 'accepted' : 'refused'}`)
  assert(!overwritten)

  await inTime.unlock()
  await Promise.all([anna.close(), ben.close()])
  client.del('example:account', () => client.quit())
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
