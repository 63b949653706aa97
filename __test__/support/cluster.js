'use strict'

const fs = require('node:fs')
const net = require('node:net')
const { freePort, startRedis } = require('./redis-server')
const { slotOf, SLOTS } = require('./slots')
const { until } = require('./until')

const host = '127.0.0.1'

/**
 * A real Redis Cluster on this machine: so many primaries with consecutive ranges of slots, and replicas of each. The first
 * nodes are the primaries, at the start.
 */
class Cluster {
  /** @type {ClusterNode[]} Those that are part of it, dead ones too. */
  nodes = []
  #options

  /**
   * @param {{ name?: string, primaries?: number, replicas?: number, nodeTimeout?: number, fullCoverage?: boolean,
   *   argsOf?: (index: number, port: number) => unknown }} options `name`: of the server; `replicas`: of each
   *   primary; `nodeTimeout`: after how many milliseconds of silence a node is failing; `argsOf`: what else a node is started
   *   with, or a promise of that.
   */
  static async start(options = {}) {
    const cluster = new Cluster()
    cluster.#options = { name: 'redis', primaries: 3, replicas: 1, nodeTimeout: 1500, ...options }
    const { primaries, replicas } = cluster.#options
    try {
      await Promise.all(Array.from({ length: primaries * (1 + replicas) }, () => cluster.#startNode()))
      await cluster.#form()
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return cluster
  }

  async #startNode() {
    const { name, nodeTimeout, fullCoverage = true, argsOf } = this.#options
    const index = this.nodes.length
    const node = new ClusterNode()
    this.nodes.push(node)
    const args = async (port) => [
      ...['--cluster-enabled', 'yes', '--cluster-node-timeout', nodeTimeout],
      ...['--cluster-require-full-coverage', fullCoverage ? 'yes' : 'no'],
      // A replica stays where it was put, and is in step at once.
      ...['--cluster-migration-barrier', 100, '--repl-diskless-sync-delay', 0],
      ...((await argsOf?.(index, port)) ?? []),
    ]
    await node.start(name, args)
    return node
  }

  async #form() {
    const { primaries } = this.#options
    const first = this.nodes[0]
    await Promise.all(
      this.nodes.map(async (node, index) => {
        await node.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
        if (index < primaries) await node.addSlots(...rangeOf(index, primaries))
        if (node !== first) await first.meet(node)
      }),
    )
    await this.#until((view) => view.length === this.nodes.length)
    const replicas = this.nodes.slice(primaries)
    for (const [index, replica] of replicas.entries())
      await replica.call('CLUSTER', 'REPLICATE', this.nodes[index % primaries].id)
    await this.ready()
  }

  /** Waits until each living node sees the cluster as whole, all its replicas in step, and agrees with the others. */
  async ready() {
    const living = this.living()
    for (const node of living) await until(() => node.isOk(), `node ${node.port} is ok`)
    const views = () => Promise.all(living.map(async (node) => JSON.stringify(standing(await node.view()))))
    await until(async () => new Set(await views()).size === 1, 'the nodes agree')
  }

  /** Waits until this is so of what each living node sees. */
  async #until(condition) {
    for (const node of this.living())
      await until(async () => {
        const view = await node.view()
        return view.every(({ flags, linked }) => linked && !flags.includes('handshake')) && condition(view)
      }, `node ${node.port} sees that ${condition}`)
  }

  /** Those that neither are dead nor frozen. */
  living() {
    return this.nodes.filter((node) => node.isLiving)
  }

  /** What `config.nodes` takes. */
  addresses(nodes = this.nodes) {
    return nodes.map(({ port }) => ({ host, port }))
  }

  /** Who serves what, as the living nodes agree on: `{ node, ranges, replicas }` of each primary with slots. */
  async primaries() {
    const [asked] = this.living()
    const view = await asked.view()
    const known = (id) => this.nodes.find((node) => node.id === id)
    return view
      .filter(({ flags, ranges }) => flags.includes('master') && ranges.length > 0)
      .map(({ id, ranges }) => ({
        node: known(id),
        ranges,
        replicas: view.filter(({ primary }) => primary === id).map((replica) => known(replica.id)),
      }))
  }

  /** The primary of a slot. */
  async primaryOf(slot) {
    const primaries = await this.primaries()
    return primaries.find(({ ranges }) => ranges.some(([first, last]) => first <= slot && slot <= last))?.node
  }

  async replicasOf(primary) {
    return (await this.primaries()).find(({ node }) => node === primary)?.replicas ?? []
  }

  /** The keys of all primaries, in order, as `RedisServer.keys` has those of one server. */
  async keys(pattern) {
    const primaries = (await this.primaries()).filter(({ node }) => node.isLiving)
    const keys = await Promise.all(primaries.map(({ node }) => node.server.keys(pattern)))
    return keys.flat().sort()
  }

  /** A command to the primary of its key. */
  async call(command, key, ...args) {
    const node = await this.primaryOf(slotOf(key))
    return node.call(command, key, ...args)
  }

  /** How many commands of this kind each node has run since the last `CONFIG RESETSTAT`, by port. */
  async commandCounts(name) {
    const counts = this.living().map(async ({ port, server }) => [port, await server.commandCount(name)])
    return Object.fromEntries(await Promise.all(counts))
  }

  /** A new primary without slots, which all know. */
  async addPrimary() {
    const [first] = this.living()
    const node = await this.#startNode()
    await first.meet(node)
    await this.#until((view) => view.length === this.nodes.length)
    await this.ready()
    return node
  }

  /** Moves a slot with its keys. */
  async moveSlot(slot, to) {
    await this.beginMove(slot, to)
    await this.endMove(slot, to)
  }

  /** The slot is on its way from now on; so many of its keys are moved, in the order of their names. */
  async beginMove(slot, to, count = 0) {
    const from = await this.primaryOf(slot)
    await to.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id)
    await from.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id)
    const keys = await from.call('CLUSTER', 'GETKEYSINSLOT', slot, 10_000)
    await from.migrate(keys.sort().slice(0, count), to)
    return from
  }

  /** The rest of the keys follow, and all learn whose the slot is. */
  async endMove(slot, to) {
    const from = await this.primaryOf(slot)
    for (;;) {
      const keys = await from.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)
      if (keys.length === 0) break
      await from.migrate(keys, to)
    }
    const others = (await this.primaries())
      .map(({ node }) => node)
      .filter((node) => node !== to && node !== from)
    for (const node of [to, from, ...others.filter((node) => node.isLiving)])
      await node.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id)
  }

  /** Moves a slot as Valkey does from 9.0 on: all of it at one moment, without redirections by key. */
  async moveAtOnce(slot, to) {
    const from = await this.primaryOf(slot)
    await from.call('CLUSTER', 'MIGRATESLOTS', 'SLOTSRANGE', slot, slot, 'NODE', to.id)
    await until(async () => (await this.primaryOf(slot)) === to, `slot ${slot} has moved`)
  }

  /**
   * A primary to lose, and its replica: of those, the one where no replica has been elected for the longest time. A node that is
   * to be elected again soon after takes the votes of last time for new ones, and so becomes a primary that nobody else takes
   * for one.
   */
  async primaryToLose() {
    const primaries = await this.primaries()
    const rested = ({ node, replicas }) => Math.min(...[node, ...replicas].map((node) => node.restedFor))
    const { node, replicas } = primaries.toSorted((one, other) => rested(other) - rested(one))[0]
    await until(() => rested({ node, replicas }) > 4 * this.#options.nodeTimeout, 'no vote counts any more')
    return { node, replica: replicas[0] }
  }

  /**
   * The replica takes over from its primary. `how`: `FORCE` where that is away, `TAKEOVER` without asking anybody; nothing:
   * together with the primary, and without a loss.
   */
  async failOver(replica, ...how) {
    await replica.call('CLUSTER', 'FAILOVER', ...how)
    await until(() => replica.isPrimary(), `node ${replica.port} has taken over`)
    replica.electedAt = performance.now()
  }

  /** The dead live and the frozen go on; waits until all is well again. */
  async heal() {
    for (const node of this.nodes) await node.revive()
    await this.ready()
    for (const { node, replicas } of await this.primaries())
      if (replicas.some(({ wasLost }) => wasLost)) node.electedAt = performance.now()
    for (const node of this.nodes) node.wasLost = false
  }

  async stop() {
    await Promise.all(this.nodes.map((node) => node.stop()))
  }
}

/** A node, dead or alive. */
class ClusterNode {
  id
  server
  /** Where the others connect to. */
  portForNodes
  /** When it was elected, at the latest. */
  electedAt = Number.NEGATIVE_INFINITY
  /** Whether it was killed or frozen, since the cluster was whole. */
  wasLost = false
  #isDead = true
  #isFrozen = false

  async start(name, argsOf) {
    for (let attempt = 1; !this.server; attempt++) {
      const port = await freePortOfNode()
      try {
        const args = await argsOf(port)
        this.server = await startRedis({ name, port, args })
        const tls = args.indexOf('--tls-port')
        this.portForNodes = tls < 0 ? port : args[tls + 1]
      } catch (error) {
        // Another process may have taken one of its ports meanwhile.
        if (attempt === 5 || !/bind|in use|listening/i.test(error.message)) throw error
      }
    }
    this.#isDead = false
    this.id = await this.call('CLUSTER', 'MYID')
  }

  get port() {
    return this.server?.port
  }

  get restedFor() {
    return performance.now() - this.electedAt
  }

  get isLiving() {
    return !this.#isDead && !this.#isFrozen
  }

  call(...command) {
    return this.server.call(...command)
  }

  meet(other) {
    return this.call('CLUSTER', 'MEET', host, other.port, other.port + BUS)
  }

  /** Redis 6.2 takes no ranges. */
  async addSlots(first, last) {
    const slots = Array.from({ length: last - first + 1 }, (_, index) => first + index)
    await this.call('CLUSTER', 'ADDSLOTS', ...slots)
  }

  /** What it knows of each node. */
  async view() {
    const text = await this.call('CLUSTER', 'NODES')
    return text.trim().split('\n').map(parsed)
  }

  /** Whether it sees the cluster as whole and is in step: as a replica with its primary, as a primary with its replicas. */
  async isOk() {
    if (!/cluster_state:ok/.test(await this.call('CLUSTER', 'INFO'))) return false
    const replication = await this.call('INFO', 'replication')
    if (/role:slave/.test(replication)) return /master_link_status:up/.test(replication)
    const view = await this.view()
    const replicas = view.filter(({ primary, flags }) => primary === this.id && !flags.includes('fail'))
    return (replication.match(/state=online/g) ?? []).length === replicas.length
  }

  async isPrimary() {
    return (await this.call('ROLE'))[0] === 'master'
  }

  async migrate(keys, to) {
    if (keys.length > 0) await this.call('MIGRATE', host, to.portForNodes, '', 0, 5000, 'KEYS', ...keys)
  }

  /** It dies, at once. */
  async kill() {
    this.#isDead = true
    this.#isFrozen = false
    this.wasLost = true
    await this.server.kill()
  }

  /** After `kill`: nothing is left of its data, but it knows the cluster. */
  async restart() {
    await this.server.start()
    this.#isDead = false
  }

  async revive() {
    if (this.#isDead) await this.restart()
    if (this.#isFrozen) this.thaw()
  }

  /** It stands still; it has when this resolves. Its sockets go on taking what fits into them. */
  async freeze() {
    this.#isFrozen = true
    this.wasLost = true
    process.kill(this.server.pid, 'SIGSTOP')
    const state = () => fs.readFileSync(`/proc/${this.server.pid}/stat`, 'utf8').match(/\) (\w)/)[1]
    await until(() => state() === 'T', `node ${this.port} has stopped`)
  }

  thaw() {
    process.kill(this.server.pid, 'SIGCONT')
    this.#isFrozen = false
  }

  async stop() {
    this.#isDead = true
    await this.server?.stop()
  }
}

/** The port of a node's bus is greater by this. */
const BUS = 10_000

/** A port that is free, and the one of the bus as well. */
async function freePortOfNode() {
  for (;;) {
    const port = await freePort()
    if (port + BUS <= 65_535 && (await isFree(port + BUS))) return port
  }
}

function isFree(port) {
  const server = net.createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, () => server.close(() => resolve(true)))
  })
}

/** The slots of one of so many primaries. */
function rangeOf(index, primaries) {
  const bound = (of) => Math.floor((of * SLOTS) / primaries)
  return [bound(index), bound(index + 1) - 1]
}

/** A line of `CLUSTER NODES`. Slots on their way are left out. */
function parsed(line) {
  const [id, address, flags, primary, , , epoch, link, ...slots] = line.split(' ')
  return {
    id,
    address,
    flags: flags.split(','),
    primary: primary === '-' ? undefined : primary,
    epoch: Number(epoch),
    linked: link === 'connected',
    ranges: slots.filter((range) => !range.startsWith('[')).map((range) => ends(range.split('-'))),
  }
}

function ends([first, last = first]) {
  return [Number(first), Number(last)]
}

/** What nodes have to agree on. */
function standing(view) {
  return view
    .map(({ id, flags, primary, ranges }) => [
      id,
      flags.filter((flag) => flag !== 'myself').join(),
      primary,
      ranges,
    ])
    .sort(([a], [b]) => (a < b ? -1 : 1))
}

module.exports = { Cluster }
