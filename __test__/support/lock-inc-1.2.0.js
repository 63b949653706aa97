'use strict'

const crypto = require('node:crypto')
const redis = require('redis')

/**
 * Stands in for lock-inc 1.2.0: through the same client, it sends the commands that 1.2.0 sends, and no others.
 */
function oldLocker({ port, prefix }) {
  const client = redis.createClient({ port })
  const key = (id) => prefix + crypto.createHash('sha256').update(id).digest('base64')
  const reply = (send) =>
    new Promise((resolve, reject) => send((error, answer) => (error ? reject(error) : resolve(answer))))
  const expireIn = (id, seconds) => reply((done) => client.expire(key(id), seconds, done))

  return {
    /** The number of locks; 1 means that it was taken. */
    async lock(id, { expire = 60 } = {}) {
      const [count, ttl] = await reply((done) => client.multi().incr(key(id)).ttl(key(id)).exec(done))
      if (count === 1 || ttl === -1) await expireIn(id, expire)
      return count
    },

    /** What a process leaves behind that dies between its INCR and its EXPIRE. */
    async lockAndDie(id) {
      await reply((done) => client.multi().incr(key(id)).ttl(key(id)).exec(done))
    },

    unlock: (id) => reply((done) => client.del(key(id), done)),
    isLocked: async (id) => Boolean(await reply((done) => client.exists(key(id), done))),

    async purge() {
      let cursor = 0
      for (;;) {
        const [next, keys] = await reply((done) => client.scan(cursor, 'MATCH', `${prefix}*`, done))
        if (keys.length === 0) return
        await reply((done) => client.del(keys, done))
        cursor = next
      }
    },

    close: () => client.quit(),
  }
}

module.exports = { oldLocker }
