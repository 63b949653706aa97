import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

export const about = {
  label: 'redlock 4',
  package: 'redlock-4',
  client: 'ioredis-4',
  settings: {
    lock: 'defaults: retryCount 10, retryDelay 200, retryJitter 100',
    lockWaiting: { retryCount: -1 },
    lease: '30 s (it has no default)',
    renewed: 'it has no automatic extension',
  },
  renews: false,
}

export async function open(port) {
  const Client = require('ioredis-4')
  const Redlock = require('redlock-4')
  const client = new Client(port)
  const redlock = new Redlock([client])
  const patient = new Redlock([client], { retryCount: -1 })
  await client.ping()
  const taken = async (by, name, ms) => {
    const lock = await by.lock(name, ms)
    return () => lock.unlock()
  }
  return {
    lock: (name) => taken(redlock, name, 30_000),
    lockWaiting: (name) => taken(patient, name, 30_000),
    hold: (name, ms) => taken(redlock, name, ms),
    close: () => client.quit(),
  }
}
