// A function of AWS Lambda, or of another service that runs a process now and then. The locker belongs to the process, so
// that calls which it serves later find the connection there.
import { setTimeout as sleep } from 'node:timers/promises'
import lockFactory from 'lock-inc'

const locker = lockFactory({
  driver: 'redis',
  config: { url: process.env.REDIS_URL },
  settings: { prefix: 'example:', commandTimeout: '2s' },
})

export async function handler(event, context) {
  // The process may be frozen when this call has ended: so no lease reaches beyond that, also where it is cut short.
  const ms = context.getRemainingTimeInMillis()
  const options = { expire: '30s', maxHold: ms / 1000, timeout: ms / 2 }
  return locker.request(`order:${event.order}`, options, ({ signal, token }) =>
    ship(event.order, signal, token),
  )
}

async function ship(order, signal, token) {
  await sleep(10, undefined, { signal })
  return { order, token }
}
