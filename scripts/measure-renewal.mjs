// What it costs to keep 10,000 locks with leases of a minute: CPU of this process and commands a second, over a minute.
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(import.meta.url)
const lockFactory = require('..')
const { startRedis } = require('../__test__/support/redis-server')

const LOCKS = 10_000
const SECONDS = 60

const server = await startRedis()
const locker = lockFactory({
  driver: 'redis',
  config: { port: server.port },
  settings: { prefix: 'measured:' },
})
const before = process.memoryUsage().rss
const locks = []
// Taken over a third of a lease, so that the renewals are spread as those of a real fleet are.
while (locks.length < LOCKS) {
  const names = Array.from({ length: LOCKS / 20 }, (_, index) => `resource ${locks.length + index}`)
  locks.push(...(await Promise.all(names.map((name) => locker.lock(name, { expire: 60, renew: true })))))
  await sleep(1000)
}
const memory = (process.memoryUsage().rss - before) / LOCKS / 1024

await server.call('CONFIG', 'RESETSTAT')
const start = process.cpuUsage()
await sleep(SECONDS * 1000)
const { user, system } = process.cpuUsage(start)
const commands = (await server.commandCount('evalsha')) / SECONDS

console.log(`renewed locks held        ${locks.filter((lock) => lock.held).length} of ${LOCKS}`)
console.log(`CPU of this process       ${((user + system) / 1e4 / SECONDS).toFixed(2)} % of a core`)
console.log(`commands                  ${commands.toFixed(0)} a second`)
console.log(`memory                    ${memory.toFixed(1)} KiB a lock`)

await locker.close()
await server.stop()
process.exit()
