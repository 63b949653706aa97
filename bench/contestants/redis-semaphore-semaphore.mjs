import { createRequire } from 'node:module'
import { LIMIT } from './ours-semaphore.mjs'

const require = createRequire(import.meta.url)

export const about = {
  label: 'redis-semaphore, Semaphore of 4',
  package: 'redis-semaphore',
  client: 'ioredis-6',
  settings: { lockWaiting: { acquireTimeout: 600_000 }, lease: '10 s (default), refreshed' },
}

export async function open(port) {
  const { Redis } = require('ioredis-6')
  const { Semaphore } = require('redis-semaphore')
  const client = new Redis(port)
  await client.ping()
  const lockWaiting = async (name) => {
    const semaphore = new Semaphore(client, name, LIMIT, { acquireTimeout: 600_000 })
    await semaphore.acquire()
    return () => semaphore.release()
  }
  return { lock: lockWaiting, lockWaiting, close: () => client.quit() }
}
