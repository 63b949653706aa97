'use strict'

// A tour of lock-inc on the memory driver: no server is needed. Each step checks what it tells; the exit code is 0
// only if all of them behave.

const assert = require('node:assert/strict')
const { setTimeout: sleep } = require('node:timers/promises')
const lockFactory = require('..')
const { fact, paint, step, time, timed, until } = require('./tour')

const { ClosedError, LockLostError, ResourceLockedError } = lockFactory

// Lockers under one prefix stand for processes.
const spec = { driver: 'memory', settings: { prefix: 'demo:' } }
const anna = lockFactory(spec)
const ben = lockFactory(spec)
const carla = lockFactory(spec)

async function main() {
  const started = performance.now()
  console.log(paint('bold', 'lock-inc: a tour in fourteen steps'))
  console.log(
    paint('dim', 'Anna, Ben and Carla are lockers in this process; their locks are kept in its memory.'),
  )

  step('A lock', 'Anna locks the daily report for at most 30 seconds.')
  const first = await timed(() => anna.lock('report:daily', { expire: 30 }))
  assert.equal(first.value.key, lockFactory.hash('report:daily'))
  assert.equal(await ben.isLocked('report:daily'), true)
  fact('Anna: lock', `granted, token ${first.value.token}`, first.ms)
  fact('Ben: isLocked', 'true')

  step('Somebody else wants it', 'Ben is turned away, and the error says who is in the way and for how long.')
  const refused = await timed(() => ben.lock('report:daily').catch((error) => error))
  const error = refused.value
  assert(error instanceof ResourceLockedError)
  assert.deepEqual(error.details, { resourceId: 'report:daily', numberOfLocks: 2 })
  assert.equal(error.holder.pid, process.pid)
  assert.equal(error.holder.token, first.value.token)
  assert(error.leaseLeft > 0 && error.leaseLeft <= 30_000)
  fact('Ben: lock', `${error.name}, code ${error.code}`, refused.ms)
  fact('held by', `process ${error.holder.pid} on ${error.holder.host}`)
  fact('since', error.holder.since.toISOString())
  fact('lease left', `${(error.leaseLeft / 1000).toFixed(2)} s`)
  fact('attempts so far', String(error.details.numberOfLocks))

  step('Waiting', 'Ben waits for up to 10 s. Anna finishes after 150 ms, and her unlock hands the lock over.')
  const waiting = timed(() => ben.lock('report:daily', { timeout: 10_000 }))
  await sleep(150)
  assert.equal(await first.value.unlock(), true)
  fact('Anna: unlock', 'true: the lock was still hers')
  const second = await waiting
  assert(second.ms >= 145, `Ben had the lock after ${second.ms} ms, while Anna still held it`)
  fact('Ben: lock', `granted, token ${second.value.token}`, second.ms)
  assert.equal(await second.value.unlock(), true)

  step(
    'A holder that never comes back',
    'Anna takes the import for 0.2 seconds and hangs. Ben gets it all the same.',
  )
  const taking = performance.now()
  const late = await anna.lock('import', { expire: 0.2 })
  const rescued = await timed(() => ben.lock('import', { timeout: 10_000 }))
  const held = performance.now() - taking
  assert(held >= 199, `the lease of 200 ms ended after ${held} ms`)
  fact('Anna: lock', `granted, token ${late.token}`)
  fact('Ben: lock', `granted, token ${rescued.value.token}`, rescued.ms)

  step(
    'Anna wakes up',
    'Her lease is over. Her unlock says so, and leaves the lock that Ben holds now alone.',
  )
  assert.equal(await late.unlock(), false)
  assert.equal(await ben.isLocked('import'), true)
  fact('Anna: unlock', 'false: it was not hers any more')
  fact('Ben: isLocked', 'true')

  step('Fencing tokens', 'Every grant has a greater token, so a store can refuse whoever is late.')
  const grants = {
    'report, Anna': first.value,
    'report, Ben': second.value,
    'import, Anna': late,
    'import, Ben': rescued.value,
  }
  let greatest = 0
  for (const [what, { token }] of Object.entries(grants)) {
    assert(token > greatest)
    greatest = token
    fact(what, String(token))
  }
  const store = new Store()
  assert.equal(store.write('rows of Ben', rescued.value.token), true)
  assert.equal(store.write('rows of Anna', late.token), false)
  assert.equal(store.value, 'rows of Ben')
  fact('Ben writes', 'accepted: no greater token was here before')
  fact('Anna writes', 'refused: the store has seen a greater token')
  assert.equal(await rescued.value.unlock(), true)

  step(
    'Holding for longer',
    'A lease of half a second is renewed, also while Anna blocks her event loop. Then Ben takes the lock by force.',
  )
  const kept = await anna.lock('video', { expire: 0.5, renew: true })
  const blocked = await timed(() => blockFor(1200))
  assert.equal(kept.held, true)
  assert.equal(await ben.isLocked('video'), true)
  fact('Anna: held', 'true: the lock is renewed by another thread', blocked.ms)
  const told = new Promise((resolve) => {
    kept.signal.addEventListener('abort', () => resolve(kept.signal.reason), { once: true })
  })
  const loss = await timed(async () => {
    assert.equal(await ben.forceUnlock('video'), true)
    return told
  })
  assert(loss.value instanceof LockLostError)
  assert.equal(loss.value.reason, 'purged')
  assert.equal(kept.held, false)
  fact('Ben: forceUnlock', 'true')
  fact('Anna: signal', `aborted with ${loss.value.name}, reason ${loss.value.reason}`, loss.ms)
  assert.equal(await kept.unlock(), false)

  step(
    'Readers and a writer',
    'Anna and Ben read the price list together. Carla writes when both have finished.',
  )
  const readers = [
    await anna.lock('prices', { mode: 'shared' }),
    await ben.lock('prices', { mode: 'shared' }),
  ]
  assert(readers[1].token > readers[0].token)
  fact('both: lock', 'granted, shared')
  assert.equal(await carla.tryLock('prices'), null)
  fact('Carla: tryLock', 'null: she wants it for herself')
  const writing = timed(() => carla.lock('prices', { timeout: 10_000 }))
  await until(async () => (await ben.inspect('prices')).waiters.length === 1)
  assert.equal(await ben.tryLock('prices', { mode: 'shared' }), null)
  fact('Ben: tryLock', 'null: to read again would overtake Carla, who waits')
  await sleep(100)
  for (const reader of readers) assert.equal(await reader.unlock(), true)
  const writer = await writing
  fact('Carla: lock', 'granted when the last reader has gone', writer.ms)
  assert.equal(await writer.value.unlock(), true)

  step('A semaphore', 'Six letters go to a mail server that takes two at a time.')
  let [inside, most] = [0, 0]
  const letters = Array.from({ length: 6 }, (_, index) =>
    [anna, ben, carla][index % 3].request('mail server', { mode: 'shared', limit: 2 }, async () => {
      most = Math.max(most, ++inside)
      await sleep(30)
      inside--
    }),
  )
  const sent = await timed(() => Promise.all(letters))
  assert.equal(most, 2)
  fact('all sent', `never more than ${most} at once`, sent.ms)

  step('Several at once', 'Anna moves money from one account to another. She needs both, or none.')
  const accounts = ['account:1', 'account:2']
  const busy = await ben.lock('account:2')
  const none = await anna.lock(accounts).catch((error) => error)
  assert(none instanceof ResourceLockedError)
  assert.equal(none.resourceId, 'account:2')
  assert.equal(await ben.isLocked('account:1'), false)
  fact('Anna: lock', `${none.name}: ${none.resourceId} is in the way`)
  const both = timed(() => anna.lock(accounts, { timeout: 10_000 }))
  await sleep(50)
  await busy.unlock()
  const transfer = await both
  assert.deepEqual(transfer.value.resourceIds, accounts)
  fact('Anna: lock', `granted, with ${transfer.value.tokens.size} tokens`, transfer.ms)

  step('Who holds what', 'Carla asks for everything that is held and waited for.')
  const next = ben.lock('account:1', { timeout: 10_000 })
  await until(async () => (await carla.query()).pending.length === 1)
  const all = await timed(() => carla.query())
  for (const { name, mode, pid } of all.value.held) fact('held', `${name}, ${mode}, by process ${pid}`)
  for (const { name, pid } of all.value.pending) fact('pending', `${name}, by process ${pid}`, all.ms)
  assert.deepEqual(all.value.held.map(({ name }) => name).sort(), accounts)
  assert.equal(await transfer.value.unlock(), true)
  assert.equal(await (await next).unlock(), true)

  step('Stealing', 'Ben takes the lead from Anna, who is told at once.')
  const leader = await anna.lock('leader', { renew: true })
  const robbed = new Promise((resolve) => {
    leader.signal.addEventListener('abort', () => resolve(leader.signal.reason), { once: true })
  })
  const thief = await ben.lock('leader', { steal: true })
  const theft = await timed(() => robbed)
  assert.equal(theft.value.reason, 'stolen')
  assert(thief.token > leader.token)
  fact('Ben: lock', `granted, token ${thief.token}`)
  fact('Anna: signal', `aborted with ${theft.value.name}, reason ${theft.value.reason}`, theft.ms)
  assert.equal(await thief.unlock(), true)

  step('Purge', 'A thousand locks of both of them are removed at once, whoever holds them.')
  const names = Array.from({ length: 1000 }, (_, index) => `User:${index}`)
  const taken = await timed(() =>
    Promise.all(names.map((name, index) => (index % 2 ? anna : ben).lock(name))),
  )
  fact('lock, 1000 times', 'all granted', taken.ms)
  const purged = await timed(() => anna.purge())
  fact('Anna: purge', 'done', purged.ms)
  const left = (await Promise.all(names.map((name) => ben.isLocked(name)))).filter(Boolean)
  assert.deepEqual(left, [])
  assert.equal(await taken.value[0].unlock(), false)
  fact('still locked', '0')

  step('The end', 'A closed locker takes no more calls.')
  await Promise.all([anna.close(), ben.close(), carla.close()])
  const closed = await anna.lock('report:daily').catch((reason) => reason)
  assert(closed instanceof ClosedError)
  fact('Anna: lock', `${closed.name}, code ${closed.code}`)

  console.log(
    `\n${paint('green', 'Everything behaved as told')} ${paint('dim', time(performance.now() - started))}`,
  )
}

/** What a lock protects. It remembers the greatest token it has seen, and refuses smaller ones. */
class Store {
  #greatest = 0

  write(value, token) {
    if (token < this.#greatest) return false
    this.#greatest = token
    this.value = value
    return true
  }
}

/** Keeps the thread busy, as a long calculation does. */
function blockFor(ms) {
  const end = performance.now() + ms
  while (performance.now() < end);
}

main().catch((error) => {
  console.error(`\n${error.stack}`)
  process.exitCode = 1
})
