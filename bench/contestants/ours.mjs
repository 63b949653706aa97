import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

export const about = {
  label: 'lock-inc',
  package: 'lock-inc',
  client: 'its own',
  settings: { lock: 'defaults', lockWaiting: 'timeout: Infinity', lease: '60 s (default)' },
}

export const open = (where) => openBuild('../..', where)

/** `options`: of each lock. */
export const openWith = (options, where) => openBuild('../..', where, options)

/** `folder`: a checkout of lock-inc with an addon in it. `where`: the port of a server, or the `config` for several. */
export async function openBuild(folder, where, options) {
  const lockFactory = require(folder)
  const config = typeof where === 'number' ? { port: where } : where
  const make = () => lockFactory({ driver: 'redis', config, settings: { prefix: 'bench:' } })
  const locker = make()
  await locker.isLocked('connected')
  const keyOf = (name) => {
    const hash = lockFactory.hash(name)
    return `bench:${config.nodes ? `{${hash}}` : hash}`
  }
  return { ...interfaceOf(locker, make, options), keyOf }
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
