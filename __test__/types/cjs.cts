import lockFactory = require('lock-inc')

const locker: lockFactory.Locker = lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } })
const same: lockFactory.Locker[] = [
  lockFactory.lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } }),
  lockFactory.default({ driver: 'memory', settings: { prefix: 'lock:' } }),
]
const options: lockFactory.LockOptions = { expire: 30, retry: true }
const { hash, LockError, ResourceLockedError, ConnectionError, RedisError, ClosedError } = lockFactory

async function take(): Promise<string> {
  const lock: lockFactory.Lock = await locker.lock(hash('User:1602'), options)
  return lock.key
}

function explain(error: unknown): string | undefined {
  if (error instanceof ResourceLockedError) return error.holder?.host
  if (error instanceof ConnectionError || error instanceof RedisError) return error.cause?.code
  if (error instanceof ClosedError) return error.code
  return error instanceof LockError ? error.resourceId : undefined
}

export = { same, take, explain }
