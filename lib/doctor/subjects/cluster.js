'use strict'

const { infoOf } = require('../replies')
const { count } = require('../words')

const SLOTS = 16_384

/** In milliseconds. */
const NODE_TIMEOUT = 5000

/** Whether all slots are served, and who takes the place of those who serve them. */
const subject = {
  name: 'cluster',
  findings: {
    whole: { level: 'ok' },
    unnamed: {
      level: 'problem',
      means:
        'This is one node of a cluster: locks whose slots are at others are refused with ERR_REDIS_MOVED.',
      todo: 'config.cluster: true, or config.nodes (--cluster, --nodes).',
    },
    gaps: {
      level: 'problem',
      means:
        'Locks in those slots wait, and reject with ERR_REDIS_CLUSTERDOWN at their deadlines; all locks, with cluster-require-full-coverage.',
      todo: 'CLUSTER NODES says who is failing. Bring it back, or give its slots to others.',
    },
    down: {
      level: 'problem',
      means: 'The nodes refuse calls with ERR_REDIS_CLUSTERDOWN.',
      todo: 'CLUSTER INFO and CLUSTER NODES say why.',
    },
    few: {
      level: 'warning',
      means:
        'More than half of the primaries have to agree that one has failed. With fewer than three there is no failover.',
      todo: 'Three primaries or more.',
    },
    bare: {
      level: 'warning',
      means: 'If it fails, nobody takes its place, and its locks wait until it is back.',
      todo: 'A replica for each primary, on another machine.',
    },
    coverage: {
      level: 'note',
      means: 'The loss of one slot stops the locks of all.',
      todo: 'cluster-require-full-coverage no.',
    },
    slow: {
      level: 'note',
      means:
        'A failover takes that long and about a second more. Calls with a shorter deadline reject, and leases shorter than twice that and 5 s are lost.',
      todo: 'cluster-node-timeout of 2000 to 5000.',
    },
  },

  /** @param {import('../server').Server[]} servers @param {any} tell @param {any} scene */
  async examine(servers, tell, { redis }) {
    const server = servers.find(({ failure }) => !failure)
    if (!server) return
    const { mode } = await server.hello()
    if (!redis.nodes) {
      if (mode === 'cluster')
        tell('unnamed', `${server.name} is a node of a cluster, and config does not say so`)
      return
    }
    tellOfSlots(await server.answer('CLUSTER', 'SLOTS'), tell)
    const { cluster_state: state } = infoOf(await server.answer('CLUSTER', 'INFO'))
    if (state !== 'ok') tell('down', `cluster_state is ${state}`)
    if ((await server.setting('cluster-require-full-coverage')) === 'yes') {
      tell('coverage', 'cluster-require-full-coverage is yes')
    }
    const timeout = Number(await server.setting('cluster-node-timeout'))
    if (timeout > NODE_TIMEOUT) tell('slow', `cluster-node-timeout is ${timeout}`)
  },
}

/** @param {any[]} ranges @param {any} tell */
function tellOfSlots(ranges, tell) {
  const served = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0)
  const replicas = new Map(ranges.map(([, , [host, port], ...others]) => [`${host}:${port}`, others.length]))
  const number = count(replicas.size, 'primary').replace('primarys', 'primaries')
  if (served < SLOTS) tell('gaps', `${SLOTS - served} of ${SLOTS} slots are served by nobody`)
  else tell('whole', `${number} serve all slots`)
  if (replicas.size < 3) tell('few', `There ${replicas.size === 1 ? 'is' : 'are'} ${number}`)
  for (const [address, found] of replicas)
    if (found === 0) tell('bare', `The primary at ${address} has no replica`)
}

module.exports = subject
