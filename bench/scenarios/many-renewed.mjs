import { contestants, OURS, peers } from '../contestants/index.mjs'
import { startChildren } from '../lib/child.mjs'
import { against, best, line, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'many-renewed'
export const title = '10,000 renewed locks with leases of a minute: CPU, commands, memory'

/** Each has a server of its own and all of them run at once: they are idle nearly all the time. */
export async function run({ quick, log }) {
  const count = quick ? 1000 : 10_000
  const lease = quick ? 6000 : 60_000
  // Locks are taken over a third of the lease, so that renewals are spread as those of a real fleet are.
  const spread = lease / 3
  // Peers renew late in the lease, so only a whole lease shows what renewal costs them.
  const window = lease
  const able = [OURS, ...peers].filter((name) => contestants[name].renews !== false)
  const failed = new Map()
  const found = {}
  await Promise.all(
    able.map(async (contestant) => {
      const server = await Server.start()
      try {
        found[contestant] = await hold(server, contestant, { count, lease, spread, window })
      } catch (error) {
        failed.set(contestant, error.message)
      } finally {
        await server.stop()
      }
    }),
  )
  for (const name of peers.filter((name) => !able.includes(name))) failed.set(name, 'does not renew')
  if (quick) log(`leases are of ${lease / 1000} s only, so that they are renewed at all`)

  const each = (pick) =>
    Object.fromEntries(able.filter((name) => found[name]).map((name) => [name, [pick(found[name])]]))
  const cpu = each(({ share }) => share * 100)
  const memory = each((figures) => figures.memory)
  const figures = {
    '% of a core': cpu,
    '% of a core, JS thread': each(({ thread }) => thread * 100),
    'commands/s': each((figures) => figures.commands),
    'KiB RSS/lock': memory,
    'locks lost': each((figures) => figures.lost),
  }
  const others = able.filter((name) => name !== OURS)
  return {
    figures: Object.fromEntries(Object.entries(figures).map(([kind, of]) => [kind, spreads(of)])),
    rounds: figures,
    conditions: { count, window, lease },
    failed,
    rows: [
      line(name, `CPU of ${count.toLocaleString('en-US')} renewed locks`, '1 % of a core', cpu[OURS] ?? [], {
        atMost: 2,
      }),
      against(name, 'CPU', cpu, OURS, best(cpu, others)),
      against(name, 'RSS a lock', memory, OURS, best(memory, others)),
    ],
  }
}

async function hold(server, contestant, { count, lease, spread, window }) {
  const [child] = await startChildren(contestant, server.port, 1)
  try {
    await child.call('holdMany', { count: 100, from: count, lease, renewed: true })
    const before = await child.call('memory')
    const options = { count, lease, renewed: true, spread }
    const { lost } = await child.call('holdMany', options, { deadline: spread + 60_000 })
    const memory = ((await child.call('memory')) - before) / count / 1024
    await server.resetCounters()
    const { processUs, threadUs, ms } = await child.call(
      'idle',
      { ms: window },
      { deadline: window + 30_000 },
    )
    const counters = await server.commands()
    // All but what this run asks itself; commands that scripts call are not told apart here.
    const sent = ['eval', 'evalsha'].reduce((sum, command) => sum + (counters[command] ?? 0), 0)
    return {
      share: processUs / 1000 / ms,
      thread: threadUs / 1000 / ms,
      commands: (sent / ms) * 1000,
      memory,
      lost,
    }
  } finally {
    child.kill()
  }
}
