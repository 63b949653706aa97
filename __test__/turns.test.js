'use strict'

const { execFileSync } = require('node:child_process')
const lockFactory = require('..')
const { runNode } = require('./support/child')
const { startRedis } = require('./support/redis-server')
const { block, redisScene } = require('./support/scene')
const { until } = require('./support/until')

// Which thread does the work, and when it is sent.
describe('a call', () => {
  const scene = redisScene()
  const { newLocker, spec, exists } = scene

  /** Asks the server how many of these there are. Blocks the thread meanwhile. */
  const countBlocking = (resourceIds, port = scene.server.port) => {
    const command = JSON.stringify(`EXISTS ${resourceIds.map(scene.key).join(' ')}\r\nQUIT\r\n`)
    const ask = `require("node:net").connect(${port}, "127.0.0.1").end(${command}).pipe(process.stdout)`
    const reply = execFileSync(process.execPath, ['-e', ask]).toString()
    return Number(reply.match(/^:(\d+)/)[1])
  }

  it('is sent at once, also if its thread is busy from then on', async () => {
    const locker = newLocker()
    await (await locker.lock('warm-up')).unlock()
    const locking = locker.lock('resource')
    expect(countBlocking(['resource'])).toBe(1)
    await (await locking).unlock()
  })

  it('of many in one turn need not wait for the end of it, so that the server has something to do meanwhile', async () => {
    const locker = newLocker()
    await (await locker.lock('warm-up')).unlock()
    const names = Array.from({ length: 99 }, (_, index) => `resource ${index}`)
    const locking = names.map((name) => locker.lock(name))
    // A third is kept back at the most.
    expect(countBlocking(names.slice(0, 66))).toBe(66)
    for (const lock of await Promise.all(locking)) await lock.unlock()
  })

  describe('that comes late in its turn leaves also if its thread is busy from then on', () => {
    let withoutResp3
    const forever = { timeout: Number.POSITIVE_INFINITY }
    const names = (what, count) => Array.from({ length: count }, (_, index) => `${what} ${index}`)
    const locksOf = (locker, what, count) => Promise.all(names(what, count).map((name) => locker.lock(name)))

    beforeAll(async () => {
      withoutResp3 = await startRedis({ args: ['--rename-command', 'HELLO', ''] })
    })

    afterAll(() => withoutResp3.stop())

    /** Gives up thirty locks of three lockers on two links in one turn, behind what is done first in it. How many are left. */
    const giveUp = async (port, prepare) => {
      const lockers = [{}, {}, { commandTimeout: 9000 }].map((settings) => newLocker({ port, settings }))
      const locking = lockers.map((locker, index) => locksOf(locker, `held by ${index}`, 10))
      const locks = (await Promise.all(locking)).flat()
      const begin = await prepare(lockers)
      const others = begin?.()
      const unlocking = locks.map((lock) => lock.unlock())
      const names = locks.map(({ resourceId }) => resourceId)
      const left = countBlocking(names, port)
      expect(new Set(await Promise.all(unlocking))).toEqual(new Set([true]))
      await others
      return left
    }

    const cases = [
      ['where nothing else is under way', () => {}],
      [
        'behind many others',
        (lockers) => () => Promise.all(lockers.map((locker, index) => locksOf(locker, `new ${index}`, 200))),
      ],
      [
        'where a hundred wait',
        async ([first, second]) => {
          const held = await locksOf(first, 'waited for', 100)
          for (const { resourceId } of held) second.lock(resourceId, forever).catch(() => {})
          await until(async () => (await first.inspect('waited for 99')).waiters.length === 1, 'all wait')
        },
      ],
      ['where nothing has happened for a while', () => new Promise((resolve) => setTimeout(resolve, 200))],
    ]

    it.each(cases)('%s', async (_, prepare) => {
      expect(await giveUp(scene.server.port, prepare)).toBe(0)
    })

    it.each(cases)('%s, without RESP3', async (_, prepare) => {
      expect(await giveUp(withoutResp3.port, prepare)).toBe(0)
    })
  })

  it.each([
    ['Redis', () => newLocker()],
    ['memory', () => lockFactory({ driver: 'memory', settings: { prefix: scene.prefix } })],
  ])(
    'of very many in one turn, with %s, is settled with some others, and the event loop goes on between',
    async (_, make) => {
      const locker = make()
      await (await locker.lock('warm-up')).unlock()
      const count = 20_000
      let settled = 0
      const calls = Array.from({ length: count }, (_, index) =>
        locker.lock(`resource ${index}`).then(() => settled++),
      )
      // All at once would be thousands. It is two hundred at a time, a few times: Bun looks for immediates after the ninth.
      while (settled < count) {
        const before = settled
        await new Promise(setImmediate)
        expect(settled - before).toBeLessThan(2500)
      }
      await Promise.all(calls)
      await locker.purge()
      await locker.close()
    },
  )

  it('is answered by the other thread while its own is busy', async () => {
    const locker = newLocker()
    await (await locker.lock('warm-up')).unlock()
    const locking = locker.lock('resource', { expire: 1, renew: true })
    // Renewal needs that somebody has read the grant.
    block(2000)
    const lock = await locking
    expect(lock.held).toBe(true)
    expect(await lock.unlock()).toBe(true)
  })

  it('that waits has its turn taken by the other thread while its own is busy', async () => {
    const locker = newLocker()
    const { child, messages } = runNode(
      `lockFactory(args).lock('resource').then((lock) => {
        tell('held')
        process.stdin.once('data', () => lock.unlock().then(() => process.exit(0)))
      })`,
      spec(),
    )
    await until(() => messages.includes('held'))
    const waiting = locker.lock('resource', { expire: 0.5, renew: true, timeout: 60_000 })
    await scene.waiting('resource', 1)
    child.stdin.write('unlock')
    block(1500)
    expect((await waiting).held).toBe(true)
  })

  it('needs no other thread of a process that is idle', async () => {
    const { child, messages, ended } = runNode(
      `
      const fs = require('node:fs')
      const switches = () => {
        const task = fs.readdirSync('/proc/self/task').find((id) =>
          fs.readFileSync('/proc/self/task/' + id + '/comm', 'utf8').trim() === 'lock-inc')
        return Number(fs.readFileSync('/proc/self/task/' + task + '/status', 'utf8').match(/\\nvoluntary_ctxt_switches:\\s+(\\d+)/)[1])
      }
      const main = async () => {
        const locker = lockFactory(args)
        for (let round = 0; round < 100; round++) await (await locker.lock('resource')).unlock()
        const [before, start] = [switches(), performance.now()]
        for (let round = 0; round < 1000; round++) await (await locker.lock('resource')).unlock()
        tell({ switches: switches() - before, ms: performance.now() - start })
        await locker.close()
      }
      main()
      `,
      spec(),
    )
    await ended
    // One for each would be two thousand. It wakes up every 10 ms to see whether it is needed.
    const [{ switches, ms }] = messages
    expect(switches).toBeLessThan(200 + ms / 3)
    expect(child.exitCode).toBe(0)
    expect(await exists('resource')).toBe(false)
  })
})
