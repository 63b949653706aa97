import lockFactory, {
  lockFactory as byName,
  ClosedError,
  ConnectionError,
  hash,
  type Lock,
  LockError,
  type Locker,
  LockLostError,
  RedisError,
  ResourceLockedError,
} from 'lock-inc'

const locker: Locker = lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } })
const other: Locker = byName({ driver: 'memory', settings: { prefix: 'lock:' } })

const take = (): Promise<Lock> => locker.lock(hash('User:1602'))
const work = (): Promise<number> => locker.request('User:1602', async (lock) => lock.token)

const classes: (new (...args: never[]) => LockError)[] = [
  LockError,
  ResourceLockedError,
  LockLostError,
  ConnectionError,
  RedisError,
  ClosedError,
]

// @ts-expect-error: the factory is a function, not a class
new lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } })

export { classes, other, take, work }
