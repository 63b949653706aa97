// The package, imported by its name.
import lockFactory, { hash, LockError, lockFactory as named, ResourceLockedError } from 'lock-inc'

const locker = lockFactory({ driver: 'memory', settings: { prefix: 'esm:' } })
const lock = await locker.lock('resource')
const error = await locker.lock('resource').catch((error) => error)
console.log(
  JSON.stringify([
    named === lockFactory,
    lock.key === hash('resource'),
    error instanceof ResourceLockedError,
    error instanceof LockError,
    await lock.unlock(),
  ]),
)
