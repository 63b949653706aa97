import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

export const about = {
  label: 'lock-inc',
  package: 'lock-inc',
  client: 'its own',
  settings: { lock: 'defaults', lockWaiting: 'timeout: Infinity', lease: '60 s (default)' },
}

export const open = (port) => openBuild('../..', port)

/** `options`: of each lock. */
export const openWith = (options, port) => openBuild('../..', port, options)

/** `folder`: a checkout of lock-inc with an addon in it. */
export async function openBuild(folder, port, options) {
  const lockFactory = require(folder)
  const make = () => lockFactory({ driver: 'redis', config: { port }, settings: { prefix: 'bench:' } })
  const locker = make()
  await locker.isLocked('connected')
  return interfaceOf(locker, make, options)
}

function interfaceOf(locker, make, options) {
  return {
    async lock(name) {
      return (await locker.lock(name, options)).unlock
    },
    async lockWaiting(name) {
      return (await locker.lock(name, { ...options, timeout: Infinity })).unlock
    },
    async hold(name, ms, { renewed, onLost }) {
      const lock = await locker.lock(name, { expire: ms / 1000, renew: renewed })
      lock.signal.addEventListener('abort', onLost)
      return lock.unlock
    },
    /** One more locker, of the same config. */
    another: () => interfaceOf(make(), make, options),
    close: () => locker.close(),
  }
}
