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
  // A process may be frozen between two calls. So each call gives up what it has taken, and no lease is much longer than a
  // call may be: if the process is killed, others wait no longer than that.
  const ms = Math.max(1, context.getRemainingTimeInMillis() - 1000)
  const options = { expire: '30s', maxHold: `${ms}ms`, timeout: ms / 2 }
  return locker.request(`order:${event.order}`, options, ({ signal, token }) =>
    ship(event.order, signal, token),
  )
}

async function ship(order, signal, token) {
  await sleep(10, undefined, { signal })
  return { order, token }
}
