import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

export const about = {
  label: 'redis-semaphore',
  package: 'redis-semaphore',
  client: 'ioredis-6',
  settings: {
    lock: 'defaults: acquireTimeout 10000, retryInterval 10, refreshInterval 8000',
    lockWaiting: { acquireTimeout: 600_000 },
    lease: '10 s (default), refreshed',
    renewed: 'refreshInterval 0.8 x lease (default)',
  },
}

export async function open(port) {
  const { Redis } = require('ioredis-6')
  const { Mutex } = require('redis-semaphore')
  const client = new Redis(port)
  await client.ping()
  const taken = async (name, options) => {
    const mutex = new Mutex(client, name, options)
    await mutex.acquire()
    return () => mutex.release()
  }
  return {
    lock: (name) => taken(name),
    lockWaiting: (name) => taken(name, { acquireTimeout: 600_000 }),
    hold(name, ms, { renewed, onLost }) {
      const refreshing = renewed ? {} : { refreshInterval: 0 }
      return taken(name, { lockTimeout: ms, onLockLost: onLost, ...refreshing })
    },
    close: () => client.quit(),
  }
}
