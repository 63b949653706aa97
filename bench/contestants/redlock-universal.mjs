import { createRequire } from 'node:module'
import { heldByRoutine } from '../lib/routine.mjs'

const require = createRequire(import.meta.url)

export const about = {
  label: 'redlock-universal',
  package: 'redlock-universal',
  client: 'ioredis',
  settings: {
    lock: 'defaults: retryAttempts 3, retryDelay 100',
    lockWaiting: { retryAttempts: 1_000_000 },
    lease: '30 s (default)',
    renewed: 'using(), which extends at 80 % of the lease',
  },
}

export async function open(port) {
  const { Redis } = require('ioredis')
  const { createLock, IoredisAdapter } = require('redlock-universal')
  const client = new Redis(port)
  const adapter = new IoredisAdapter(client)
  await client.ping()
  // A new lock asks with a PING whether the server is there. Like its README, so does this make one for a name.
  const usual = new Map()
  const patient = new Map()
  const taken = async (lock) => {
    const handle = await lock.acquire()
    return () => lock.release(handle)
  }
  const known = (locks, key, options) => {
    if (!locks.has(key)) locks.set(key, createLock({ adapter, key, ...options }))
    return taken(locks.get(key))
  }
  return {
    lock: (name) => known(usual, name),
    lockWaiting: (name) => known(patient, name, { retryAttempts: 1_000_000 }),
    hold(name, ms, { renewed, onLost }) {
      if (!renewed) return taken(createLock({ adapter, key: name, ttl: ms }))
      return heldByRoutine((routine) => createLock({ adapter, key: name, ttl: ms }).using(routine), onLost)
    },
    close: () => client.quit(),
  }
}
