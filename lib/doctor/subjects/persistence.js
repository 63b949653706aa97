'use strict'

const { milliseconds } = require('../words')

/** For so long the server may stand still when it forks, in milliseconds. */
const LONG_FORK = 250

/** What is left of locks after a restart, and whether saving stands in the way. */
const subject = {
  name: 'persistence',
  findings: {
    failing: {
      level: 'problem',
      means: 'While it cannot save, the server accepts no writes: calls reject with ERR_REDIS_MISCONF.',
      todo: "Look into the server's log: most often the disk is full or may not be written to.",
    },
    always: { level: 'ok' },
    log: {
      level: 'ok',
      means:
        'After a crash of the machine, locks of the last second or so are lost, and may be granted to others.',
    },
    snapshots: {
      level: 'note',
      means:
        'A restart takes the server back to its last snapshot: locks taken since are lost, and those given up since are back until their leases end.',
      todo: 'appendonly yes keeps more; appendfsync always keeps all. Check fencing tokens where two holders must not happen.',
    },
    none: {
      level: 'note',
      means:
        'A restart loses all locks. Holders are told as soon as they are connected again; until then, others may have taken them.',
      todo: 'Nothing, if leases are short and restarts rare; else appendonly yes.',
    },
    emptying: {
      level: 'warning',
      means:
        'A primary that is restarted faster than the sentinels or the cluster notice comes back empty, and its replicas follow it: all locks are lost.',
      todo: 'appendonly yes on primary and replicas, or no automatic restart.',
    },
    fork: {
      level: 'warning',
      means: 'For so long the server stands still each time it saves; calls and hand-overs wait meanwhile.',
      todo: 'Less data beside the locks, no transparent huge pages, or a server for locks alone.',
    },
  },

  /** @param {import('../server').Server} server @param {any} tell */
  async examine(server, tell) {
    const info = await server.info()
    const fork = Number(info.latest_fork_usec ?? 0) / 1000
    if (fork >= LONG_FORK) tell('fork', `The last fork took ${milliseconds(fork)}`)
    if (info.aof_enabled === undefined) return tell.unseen({ message: 'INFO does not have aof_enabled' })
    const [save, fsync, stops] = await settings(server, tell)
    const failed = (/** @type {string} */ status) => info[status] !== undefined && info[status] !== 'ok'
    if (info.aof_enabled === '1' && failed('aof_last_write_status')) {
      tell('failing', 'The last write to the append-only file has failed')
    }
    // Without the settings, the server's default counts.
    if (failed('rdb_last_bgsave_status') && save !== '' && stops !== 'no') {
      tell('failing', 'The last snapshot has failed, and stop-writes-on-bgsave-error is on')
    }
    if (info.aof_enabled === '1') {
      const how = fsync === undefined ? '' : `, appendfsync ${fsync}`
      tell(fsync === 'always' ? 'always' : 'log', `appendonly is on${how}`)
    } else if (save === '') {
      tell('none', 'Nothing is saved: appendonly is off, and there are no snapshots')
      if (Number(info.connected_slaves) > 0) tell('emptying', 'A primary with replicas saves nothing')
    } else if (save !== undefined) {
      tell('snapshots', `Snapshots alone are saved (save ${save}); appendonly is off`)
    }
  },
}

/** Those that are not known are `undefined`. @param {import('../server').Server} server @param {any} tell */
async function settings(server, tell) {
  try {
    const names = ['save', 'appendfsync', 'stop-writes-on-bgsave-error']
    return await Promise.all(names.map((name) => server.setting(name)))
  } catch (error) {
    if (server.failure) throw error
    tell.unseen(error)
    return []
  }
}

module.exports = subject
