// Several servers that belong together, as the tests start them.
import { createRequire } from 'node:module'
import { temporaryDirectory } from './processes.mjs'
import { mainThreadUs } from './server.mjs'

const require = createRequire(import.meta.url)
const host = '127.0.0.1'
const ALL_SLOTS = [[0, 16_383]]

let folder

/** Loaded when it is needed: it brings an addon and a client along. */
function support(file) {
  // They put their folders where the run removes them, also after Ctrl-C.
  if (folder === undefined) {
    folder = temporaryDirectory()
    process.env.TMPDIR = folder
  }
  return require(`../../__test__/support/${file}`)
}

/** `options`: those of the tests' `Cluster.start`. */
export const startCluster = (options) => support('cluster.js').Cluster.start(options)

/** CPU time that all primaries have used, in µs. */
export async function cpuOf(cluster) {
  const infos = cluster.nodes.map((node) => node.call('INFO', 'cpu'))
  return (await Promise.all(infos)).reduce((sum, info) => sum + mainThreadUs(info), 0)
}

/** A cluster of three primaries with a replica each, of which the same slots always lose their primary. */
export class FailingCluster {
  #cluster
  #lost
  #replicas

  static async start(options) {
    const group = new FailingCluster()
    group.#cluster = await startCluster(options)
    const [first, ...others] = await group.#cluster.primaries()
    group.failing = first.ranges
    group.spared = others.flatMap(({ ranges }) => ranges)
    group.where = { nodes: group.#cluster.addresses() }
    return group
  }

  async kill() {
    this.#lost = await this.#cluster.primaryOf(this.failing[0][0])
    this.#replicas = (await this.#cluster.replicasOf(this.#lost)).map(({ server }) => server)
    return killed(this.#lost)
  }

  /** When one of the replicas has taken a write. */
  served() {
    return written(this.#replicas, keyIn(this.failing))
  }

  /** The lost one comes back, with nothing in it, as a replica. */
  repair() {
    return this.#cluster.heal()
  }

  /** How long a key has to live, in ms. */
  ttl(key) {
    return this.#cluster.call('PTTL', key)
  }

  stop() {
    return this.#cluster.stop()
  }
}

/** A primary that three sentinels watch over, and two replicas. */
export class FailingPrimary {
  failing = ALL_SLOTS
  spared = []
  #group
  #lost
  #replicas

  static async start(options) {
    const group = new FailingPrimary()
    group.#group = await support('sentinel.js').SentinelGroup.start(options)
    group.where = group.#group.config()
    return group
  }

  async kill() {
    this.#lost = await this.#group.primary()
    this.#replicas = this.#group.servers.filter((server) => server !== this.#lost)
    return killed(this.#lost)
  }

  served() {
    return written(this.#replicas, 'served')
  }

  async repair() {
    const { port } = await this.#group.failedOver(this.#lost)
    this.#lost.addArguments('--replicaof', host, port)
    await this.#lost.start()
    // Sentinels, which look at some things every 10 s, may take longer than a test waits.
    await this.#group.ready().catch(() => this.#group.ready())
  }

  async ttl(key) {
    return (await this.#group.primary()).call('PTTL', key)
  }

  stop() {
    return this.#group.stop()
  }
}

/** When it was, on the clock of all processes. */
async function killed(server) {
  const at = Number(process.hrtime.bigint())
  await server.kill()
  return at
}

function keyIn([[first, last]]) {
  const { slotOf } = support('slots.js')
  for (let index = 0; ; index++) {
    const slot = slotOf(`served ${index}`)
    if (first <= slot && slot <= last) return `served ${index}`
  }
}

/** When the first of the servers has taken a write. */
async function written(servers, key) {
  const { until } = support('until.js')
  // Sentinels end all connections of a replica when they have it take over.
  const eager = { retry_strategy: () => 5, no_ready_check: true, enable_offline_queue: false }
  const clients = servers.map((server) => server.client(eager))
  let at
  const write = async (client) => {
    if (at === undefined) await client.call('SET', key, 1)
    at ??= Number(process.hrtime.bigint())
    return at
  }
  // Until then each says why not: it is a replica, or the cluster is down.
  const taken = (client) => until(() => write(client).catch(() => undefined), 'a replica has taken over')
  try {
    return await Promise.any(clients.map(taken))
  } finally {
    for (const client of clients) client.end(false)
  }
}
