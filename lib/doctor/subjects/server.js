'use strict'

/** The oldest that has all commands that scripts call. */
const OLDEST = [6, 2]

/** What is at the other end. */
const subject = {
  name: 'server',
  findings: {
    known: { level: 'ok' },
    old: {
      level: 'problem',
      means: 'Commands are missing that locks need: calls reject with ERR_REDIS_VERSION.',
      todo: 'Use Redis 6.2 or newer, or Valkey.',
    },
    sentinel: {
      level: 'problem',
      means: 'A sentinel has no locks. It says where the server is that has.',
      todo: 'Name it in config.sentinels, and the group in config.name.',
    },
    replica: {
      level: 'problem',
      means:
        'It takes no writes, so no lock can be taken: calls reject with ERR_REDIS_READONLY at their deadlines.',
      todo: 'Connect to the primary, or let sentinels (config.sentinels) or the cluster (config.cluster) say where it is.',
    },
    loading: {
      level: 'problem',
      means: 'Until it has its data, calls wait, and reject with ERR_REDIS_LOADING at their deadlines.',
      todo: 'Wait, and ask again.',
    },
  },

  /** @param {import('../server').Server} server @param {any} tell */
  async examine(server, tell) {
    const { server: product, version, mode, role } = await server.hello()
    const named = `${product === 'valkey' ? 'Valkey' : 'Redis'} ${version}`
    if (mode === 'sentinel') return tell('sentinel', `${named} is a sentinel, and no server with data`)
    if (isOlder(version, OLDEST)) tell('old', `It is ${named}`)
    else if (role !== 'master') tell('replica', `${named} is a replica`)
    else tell('known', `${named}, a primary`)
    const { loading, loading_loaded_perc: percent } = await server.info()
    if (loading === '1') tell('loading', `It is loading its data set (${Number(percent ?? 0)} %)`)
  },
}

/** @param {string} version @param {number[]} than */
function isOlder(version, than) {
  const parts = version.split('.').map(Number)
  const place = than.findIndex((number, index) => parts[index] !== number)
  return place >= 0 && (parts[place] ?? 0) < (than[place] ?? 0)
}

module.exports = subject
