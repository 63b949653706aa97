import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

export const about = {
  label: 'simple-redis-mutex',
  package: 'simple-redis-mutex',
  client: 'redis',
  settings: {
    lock: 'defaults: pollingInterval 10000, woken by PUBLISH',
    lockWaiting: 'the same: it waits for ever by default',
    lease: '30 s (default)',
    renewed: 'it has no automatic extension',
  },
  renews: false,
}

export async function open(port) {
  const { createClient } = require('redis')
  const { lock } = require('simple-redis-mutex')
  const client = createClient({ socket: { port } })
  await client.connect()
  // Makes its subscriber now: calls at the same time would make one each.
  await (await lock(client, 'connected'))()
  return {
    lock: (name) => lock(client, name),
    lockWaiting: (name) => lock(client, name),
    hold: (name, ms) => lock(client, name, { timeout: ms }),
    close: () => client.close(),
  }
}
