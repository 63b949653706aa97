import lockFactory = require('lock-inc')

const locker: lockFactory.Locker = lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } })
const same: lockFactory.Locker[] = [
  lockFactory.lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } }),
  lockFactory.default({ driver: 'memory', settings: { prefix: 'lock:' } }),
]
const options: lockFactory.LockOptions = { expire: 30, retry: true }
const { hash, LockError, ResourceLockedError, LockLostError, ConnectionError, RedisError, ClosedError } =
  lockFactory

async function take(): Promise<string> {
  const lock: lockFactory.Lock = await locker.lock(hash('User:1602'), options)
  const renewed: lockFactory.RequestOptions = { expire: 5, maxHold: 60 }
  return locker.request(lock.key, renewed, (held) => held?.name ?? lock.key)
}

function explain(error: unknown): string | undefined {
  if (error instanceof ResourceLockedError) return error.holder?.host
  if (error instanceof ConnectionError || error instanceof RedisError) return error.cause?.code
  if (error instanceof ClosedError) return error.code
  if (error instanceof LockLostError) return error.reason
  return error instanceof LockError ? error.resourceId : undefined
}

export = { same, take, explain }
