import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** No lock library at all: the two commands that the simplest of them would send. */
export const about = {
  label: 'bare ioredis',
  package: 'ioredis',
  client: 'ioredis',
  settings: { lock: 'SET name value PX 60000 NX', unlock: 'DEL name, whoever holds it' },
  floor: true,
}

export async function open(port) {
  const { Redis } = require('ioredis')
  const client = new Redis(port)
  await client.ping()
  const unlock = (name) => () => client.del(name)
  return {
    async lock(name) {
      if ((await client.set(name, 'held', 'PX', 60_000, 'NX')) !== 'OK') throw new Error('locked')
      return unlock(name)
    },
    ping: () => client.ping(),
    publish: (channel, message) => client.publish(channel, message),
    async subscribe(channel, onMessage) {
      const subscriber = client.duplicate()
      subscriber.on('message', (_channel, message) => onMessage(message))
      await subscriber.subscribe(channel)
    },
    close: () => client.quit(),
  }
}
