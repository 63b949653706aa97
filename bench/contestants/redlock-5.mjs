import { createRequire } from 'node:module'
import { heldByRoutine } from '../lib/routine.mjs'

const require = createRequire(import.meta.url)

export const about = {
  label: 'redlock 5',
  package: 'redlock',
  client: 'ioredis-4',
  settings: {
    lock: 'defaults: retryCount 10, retryDelay 200, retryJitter 100',
    lockWaiting: { retryCount: -1 },
    lease: '30 s (it has no default)',
    renewed: 'using(), automaticExtensionThreshold 500 (default)',
  },
}

/** `where`: the port of a server, or `{ nodes, prefix }` of a cluster, or `{ sentinels, name }`. */
export async function open(where) {
  const Client = require('ioredis-4')
  const { default: Redlock } = require('redlock')
  const client = where.nodes
    ? new Client.Cluster(where.nodes, { keyPrefix: where.prefix })
    : new Client(where)
  const redlock = new Redlock([client])
  // Without a listener, each attempt that finds the lock taken would end the process.
  redlock.on('error', () => {})
  await client.ping()
  const taken = async (name, ms, settings) => {
    const lock = await redlock.acquire([name], ms, settings)
    return () => lock.release()
  }
  return {
    lock: (name) => taken(name, 30_000),
    lockWaiting: (name) => taken(name, 30_000, { retryCount: -1 }),
    hold(name, ms, { renewed, onLost }) {
      if (!renewed) return taken(name, ms)
      return heldByRoutine((routine) => redlock.using([name], ms, routine), onLost)
    },
    keyOf: (name) => name,
    close: () => client.quit(),
  }
}
