'use strict'

const { partsOf } = require('../replies')
const { count } = require('../words')

/** So many seconds a replica may say nothing. It does so each second. */
const LAG = 10

/** Who would take the place of this server, and what it demands of them. */
const subject = {
  name: 'replicas',
  findings: {
    follow: { level: 'ok' },
    none: {
      level: 'note',
      means: 'When this server fails, no lock can be taken until it is back. Leases end as ever.',
      todo: 'Nothing, if that is acceptable; else replicas with Sentinel, or a cluster.',
    },
    behind: {
      level: 'warning',
      means:
        'A replica that is not in step knows few of the locks: if it takes over, they are granted once more.',
      todo: "Look into the replica's log and at the network between the two.",
    },
    few: {
      level: 'problem',
      means: 'The server refuses all writes: calls reject with ERR_REDIS_NOREPLICAS at their deadlines.',
      todo: 'Bring the replicas back, or lower min-replicas-to-write.',
    },
    unconfirmed: {
      level: 'problem',
      means:
        'No lock can be confirmed: each call that takes one gives it back, and rejects with ERR_REPLICATION.',
      todo: 'Bring the replicas back, or lower settings.replicas.',
    },
    trusting: {
      level: 'note',
      means:
        'A primary that is cut off from all its replicas goes on granting locks, which are lost when one of them takes its place.',
      todo: 'min-replicas-to-write 1 and min-replicas-max-lag of a few seconds; and settings.replicas: 1 for locks that must survive.',
    },
    fragile: {
      level: 'warning',
      means: 'The loss of that one replica stops all locks of this server.',
      todo: 'A second replica, or min-replicas-to-write 0.',
    },
  },

  /** @param {import('../server').Server} server @param {any} tell @param {any} scene */
  async examine(server, tell, { redis }) {
    const info = await server.info()
    if (info.role !== 'master') return
    const replicas = Object.entries(info)
      .filter(([name]) => /^slave\d+$/.test(name))
      .map(([, text]) => partsOf(text))
    const isSound = (/** @type {any} */ { state, lag }) => state === 'online' && Number(lag) <= LAG
    const sound = replicas.filter(isSound)
    const behind = replicas.filter((replica) => !isSound(replica))
    if (replicas.length === 0) tell('none', 'It has no replicas')
    else if (behind.length === 0) tell('follow', `${count(sound.length, 'replica')} in step`)
    for (const { ip, port, state, lag } of behind) {
      tell(
        'behind',
        `The replica at ${ip}:${port} is not in step (state ${state}, last heard of ${lag} s ago)`,
      )
    }
    if (redis.replicas > sound.length) {
      tell(
        'unconfirmed',
        `settings.replicas is ${redis.replicas}, and ${count(sound.length, 'replica')} in step`,
      )
    }
    const least = Number(await server.setting('min-replicas-to-write'))
    const lag = await server.setting('min-replicas-max-lag')
    // As the server itself counts them.
    const good = Number(info.min_slaves_good_slaves ?? sound.length)
    if (least > 0 && Number(lag) > 0 && good < least) {
      tell(
        'few',
        `min-replicas-to-write is ${least}, and ${count(good, 'replica')} in step (min-replicas-max-lag ${lag})`,
      )
    } else if (least > 0 && replicas.length === least) {
      tell('fragile', `min-replicas-to-write is ${least}, and there are no more replicas than that`)
    } else if (least === 0 && replicas.length > 1) {
      tell('trusting', `min-replicas-to-write is 0, with ${count(replicas.length, 'replica')}`)
    }
  },
}

module.exports = subject
