'use strict'

const { size } = require('../words')

/** Of its memory limit, from which on a server is short of memory. */
const SHORT = 0.9

/** What becomes of locks when memory runs out. */
const subject = {
  name: 'eviction',
  findings: {
    never: { level: 'ok' },
    idle: {
      level: 'note',
      means: 'As there is no memory limit, nothing is evicted. With one, locks would be.',
      todo: 'CONFIG SET maxmemory-policy noeviction, and in its configuration, before somebody sets a limit.',
    },
    on: {
      level: 'problem',
      means: 'At its limit the server may throw away locks that are held: then two hold one lock.',
      todo: 'CONFIG SET maxmemory-policy noeviction, and in its configuration; or a server for locks alone.',
    },
    short: {
      level: 'warning',
      means: 'At the limit no lock can be taken: calls reject with ERR_REDIS_OOM.',
      todo: 'Free memory, or raise maxmemory.',
    },
  },

  /** @param {import('../server').Server} server @param {any} tell */
  async examine(server, tell) {
    const { maxmemory_policy: policy, maxmemory, used_memory: used } = await server.info()
    if (policy === undefined || maxmemory === undefined) {
      return tell.unseen({ message: 'INFO does not have maxmemory_policy' })
    }
    const limit = Number(maxmemory)
    const where = limit === 0 ? 'there is no memory limit' : `maxmemory is ${size(limit)}`
    const found = `maxmemory-policy is ${policy}, and ${where}`
    if (policy === 'noeviction') tell('never', found)
    else tell(limit === 0 ? 'idle' : 'on', found)
    if (limit > 0 && Number(used) > limit * SHORT) {
      tell('short', `${size(Number(used))} of ${size(limit)} (maxmemory) are in use`)
    }
  },
}

module.exports = subject
