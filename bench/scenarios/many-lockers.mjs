import { setTimeout as sleep } from 'node:timers/promises'
import { builds, label } from '../contestants/index.mjs'
import { Child } from '../lib/child.mjs'
import { short } from '../lib/figures.mjs'
import { fact } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'many-lockers'
export const title = '10,000 lockers of one process with the same config, each waiting for a name of its own'

/** Only for our builds: who else shares connections lets the application do it. */
export async function run({ quick }) {
  const count = quick ? 1000 : 10_000
  const facts = {}
  const failed = new Map()
  for (const build of builds) {
    try {
      facts[build] = await crowd(build, count, quick ? 5000 : 20_000)
    } catch (error) {
      failed.set(build, error.message)
    }
  }
  const rows = Object.entries(facts).map(([build, { connections, share, commands, serving, closing }]) => {
    const idle = `${connections} connection${connections === 1 ? '' : 's'}, ${short(share * 100)} % of a core and ${short(commands)} commands/s while idle`
    const found = `${idle}; served in ${short(serving / 1000)} s, closed in ${short(closing / 1000)} s`
    return fact(name, `${count.toLocaleString('en-US')} lockers`, label(build), found)
  })
  return { facts, failed, rows }
}

async function crowd(build, count, window) {
  const server = await Server.start()
  const child = await Child.start(build, server.port)
  try {
    await child.call('waitEach', { count }, { deadline: 120_000 })
    while ((await queues(server)) < count) await sleep(200)
    // Until the last of them has its subscription.
    await sleep(1000)
    const connections = (await server.call('CLIENT', 'LIST')).match(/ name=lock-inc:/g).length
    await server.resetCounters()
    const { processUs, ms } = await child.call('idle', { ms: window }, { deadline: window + 30_000 })
    const { evalsha = 0 } = await server.commands()
    const serving = await child.call('serveEach', {}, { deadline: 60_000 })
    const closing = await child.call('closeEach', {}, { deadline: 60_000 })
    return { connections, share: processUs / 1000 / ms, commands: (evalsha / ms) * 1000, serving, closing }
  } finally {
    child.kill()
    await server.stop()
  }
}

async function queues(server) {
  const source = "return #redis.call('KEYS', 'bench:*:queue')"
  return server.call('EVAL', source, 0)
}
