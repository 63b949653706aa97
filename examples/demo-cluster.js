'use strict'

// A tour of lock-inc on a real Redis Cluster: three primaries with a replica each, which are started here and lose one of
// their number on the way. Each step checks what it tells; the exit code is 0 only if all of them behave.

const assert = require('node:assert/strict')
const { setTimeout: sleep } = require('node:timers/promises')
const lockFactory = require('..')
const { Cluster } = require('../__test__/support/cluster')
const { slotOf } = require('../__test__/support/slots')
const { fact, paint, step, time, timed, until } = require('./tour')

const { LockLostError } = lockFactory
const prefix = 'demo:'
/** How long a node may be silent before the others count it as dead, in ms. */
const nodeTimeout = 1500

const slotOfName = (name) => slotOf(`${prefix}{${lockFactory.hash(name)}}`)

async function main() {
  const started = performance.now()
  console.log(paint('bold', 'lock-inc: a tour of a cluster in eight steps'))
  console.log(
    paint('dim', 'Anna, Ben and Carla are lockers in this process, each with connections of its own.'),
  )
  // Where full coverage is required, all nodes refuse to serve while one is away.
  const { value: cluster, ms } = await timed(() => Cluster.start({ nodeTimeout, fullCoverage: false }))
  try {
    await tour(cluster, ms)
  } finally {
    await cluster.stop()
  }
  console.log(
    `\n${paint('green', 'Everything behaved as told')} ${paint('dim', time(performance.now() - started))}`,
  )
}

async function tour(cluster, startedIn) {
  // Lockers with the same config share their connections. So each has a deadline of its own.
  const [anna, ben, carla] = [20_000, 20_001, 20_002].map((commandTimeout) =>
    lockFactory({
      driver: 'redis',
      config: { nodes: cluster.addresses().slice(0, 2) },
      settings: { prefix, commandTimeout },
    }),
  )
  const nodeOf = (name) => cluster.primaryOf(slotOfName(name))
  /** So many names that begin like this, and are at a node. */
  const namesAt = async (node, count, what) => {
    const found = []
    for (let index = 1; found.length < count; index++) {
      const name = `${what}:${index}`
      if ((await nodeOf(name)) === node) found.push(name)
    }
    return found
  }

  step(
    'A cluster',
    'Six servers divide 16384 slots among them. The lockers are told of two, and learn the rest.',
  )
  for (const { node, ranges, replicas } of await cluster.primaries()) {
    const [[first, last]] = ranges
    fact(`node ${node.port}`, `slots ${first} to ${last}, with the replica ${replicas[0].port}`)
  }
  fact('all of it', 'is up', startedIn)

  step('A lock has a place', 'The name says which slot it is in, and so which node keeps it.')
  const primaries = (await cluster.primaries()).map(({ node }) => node)
  const accounts = []
  for (const node of primaries) accounts.push(...(await namesAt(node, 1, 'account')))
  for (const name of accounts) {
    const { value: lock, ms } = await timed(() => anna.lock(name))
    fact(name, `slot ${slotOfName(name)}, node ${(await nodeOf(name)).port}, token ${lock.token}`, ms)
    assert.equal(await lock.unlock(), true)
  }

  step('Several at once', 'Anna needs three accounts on three nodes. She gets all of them, or none.')
  const busy = await ben.lock(accounts[2])
  const none = await timed(() => anna.lock(accounts).catch((error) => error))
  assert.equal(none.value.code, 'ERR_RESOURCE_LOCKED')
  for (const name of accounts.slice(0, 2)) assert.equal(await carla.isLocked(name), false)
  fact('Anna: lock', `${none.value.name}: ${none.value.resourceId} is in the way`, none.ms)
  const waiting = timed(() => anna.lock(accounts, { timeout: 10_000 }))
  await until(async () => (await carla.inspect(accounts[2]))?.waiters.length === 1)
  assert.equal(await busy.unlock(), true)
  const all = await waiting
  assert.equal(all.value.tokens.size, 3)
  fact('Anna: lock', 'granted on all three nodes', all.ms)
  assert.equal(await all.value.unlock(), true)

  step(
    'A slot moves',
    'Anna holds the report, and Ben waits for it. Meanwhile its slot goes to another node.',
  )
  const report = await anna.lock('report:daily', { renew: true })
  const next = timed(() => ben.lock('report:daily', { timeout: 20_000 }))
  await until(async () => (await carla.inspect('report:daily')).waiters.length === 1)
  const from = await nodeOf('report:daily')
  const to = primaries.find((node) => node !== from)
  const moving = await timed(() => cluster.moveSlot(slotOfName('report:daily'), to))
  fact(
    `slot ${slotOfName('report:daily')}`,
    `has moved from ${from.port} to ${to.port}, with its keys`,
    moving.ms,
  )
  assert.equal(report.held, true)
  fact('Anna: held', 'true')
  const handing = performance.now()
  assert.equal(await report.unlock(), true)
  const { value: moved } = await next
  assert(moved.token > report.token)
  fact('Anna: unlock', 'true')
  fact('Ben: lock', `granted, token ${moved.token}`, performance.now() - handing)
  assert.equal(await moved.unlock(), true)
  await cluster.ready()

  step(
    'A node dies',
    'Anna holds the ledger, Ben waits for it, and Carla works elsewhere. Then its node is killed.',
  )
  const victim = await nodeOf('ledger')
  const [heir] = await cluster.replicasOf(victim)
  const others = (await cluster.primaries()).map(({ node }) => node).filter((node) => node !== victim)
  const ledger = await anna.lock('ledger', { expire: 30, renew: true })
  const afterAnna = ben.lock('ledger', { timeout: 60_000 })
  await until(async () => (await carla.inspect('ledger')).waiters.length === 1)
  const [late] = await namesAt(victim, 1, 'late')
  await victim.call('WAIT', 1, 1000)
  const work = new Work(carla, (await Promise.all(others.map((node) => namesAt(node, 2, 'job')))).flat())
  await until(() => work.count > 100)
  await victim.kill()
  const killed = performance.now()
  const since = () => performance.now() - killed
  fact(`node ${victim.port}`, 'killed', since())
  const another = anna.lock(late)
  await until(() => heir.isPrimary())
  fact(`node ${heir.port}`, `its replica is the primary now`, since())
  const { token } = await another
  fact('Anna: lock', `granted at that node, token ${token}`, since())
  assert.equal(ledger.held, true)
  assert.equal(await ledger.unlock(), true)
  fact('Anna: unlock', 'true: the ledger was hers all the time', since())
  const inherited = await afterAnna
  assert(inherited.token > ledger.token)
  fact('Ben: lock', `granted, token ${inherited.token}`, since())
  await work.stop()
  assert.deepEqual(work.errors, [])
  fact('Carla', `${work.count} locks at the others, the slowest in`, work.slowest)
  assert.equal(await inherited.unlock(), true)
  await victim.restart()
  await cluster.ready()
  fact(`node ${victim.port}`, `is back, as a replica of ${heir.port}`)

  step(
    'What only the dead node knew',
    'A replica is always a little behind. Here it is far behind: it hears of the draft nothing at all.',
  )
  await victim.freeze()
  await heir.call('CLIENT', 'KILL', 'TYPE', 'replica')
  const [draft] = await namesAt(heir, 1, 'draft')
  const unsure = await anna.lock(draft, { expire: 60 })
  const told = new Promise((resolve) => {
    unsure.signal.addEventListener('abort', () => resolve(unsure.signal.reason), { once: true })
  })
  await heir.kill()
  victim.thaw()
  const loss = await timed(() => told)
  assert(loss.value instanceof LockLostError)
  fact('Anna: signal', `aborted with ${loss.value.name}, reason ${loss.value.reason}`, loss.ms)
  const taken = await timed(() => ben.lock(draft))
  assert(taken.value.token > unsure.token)
  fact('Ben: lock', 'granted: nobody else has it any more', taken.ms)
  fact('its token', `${taken.value.token}, greater than Anna's, so her late writes are refused`)
  assert.equal(await unsure.unlock(), false)
  assert.equal(await taken.value.unlock(), true)
  await heir.restart()
  await cluster.ready()

  step(
    'A node stands still',
    'For a second it says nothing, and is not dead. Who has to do with others notices nothing.',
  )
  const still = await nodeOf('ledger')
  const elsewhere = (await cluster.primaries()).map(({ node }) => node).filter((node) => node !== still)
  const more = new Work(carla, (await Promise.all(elsewhere.map((node) => namesAt(node, 2, 'job')))).flat())
  await until(() => more.count > 100)
  await still.freeze()
  const held = timed(() => anna.lock('ledger'))
  await sleep(1000)
  still.thaw()
  const granted = await held
  await more.stop()
  assert.deepEqual(more.errors, [])
  fact('Anna: lock', 'granted when the node went on', granted.ms)
  fact('Carla', `${more.count} locks at the others, the slowest in`, more.slowest)
  assert.equal(await granted.value.unlock(), true)

  step('The end', 'The lockers are closed, and the servers stopped.')
  await Promise.all([anna.close(), ben.close(), carla.close()])
}

/** Takes and gives up locks, one after the other. */
class Work {
  count = 0
  slowest = 0
  errors = []
  #ends = false
  #done

  constructor(locker, names) {
    this.#done = this.#work(locker, names)
  }

  stop() {
    this.#ends = true
    return this.#done
  }

  async #work(locker, names) {
    while (!this.#ends) {
      try {
        const begin = performance.now()
        const lock = await locker.lock(names[this.count % names.length])
        await lock.unlock()
        this.slowest = Math.max(this.slowest, performance.now() - begin)
        this.count++
      } catch (error) {
        this.errors.push(error)
        this.#ends = true
      }
      // Others have things to do in this thread, too.
      await sleep(1)
    }
  }
}

main().catch((error) => {
  console.error(`\n${error.stack}`)
  process.exitCode = 1
})
