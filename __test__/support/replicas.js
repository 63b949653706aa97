'use strict'

const { FaultyProxy } = require('./proxy')
const { startRedis } = require('./redis-server')
const { until } = require('./until')

/** A primary and its replicas, each of which follows through a proxy of its own. */
class Replicated {
  /** @type {import('./proxy').FaultyProxy[]} */
  #ways = []
  replicas = []

  static async start({ name, count = 2, args = [] } = {}) {
    const set = new Replicated()
    // Else it waits for others that may want to follow, too.
    set.primary = await startRedis({ name, args: ['--repl-diskless-sync-delay', 0, ...args] })
    for (let index = 0; index < count; index++) {
      const way = await FaultyProxy.to(set.primary.port)
      set.#ways.push(way)
      set.replicas.push(await startRedis({ name, args: ['--replicaof', '127.0.0.1', way.port] }))
    }
    await set.follow()
    return set
  }

  /** Waits until all of them have everything. */
  async follow() {
    await until(async () => {
      await this.primary.call('SET', 'followed', 1)
      return (await this.primary.call('WAIT', this.replicas.length, 100)) === this.replicas.length
    }, 'all replicas follow')
  }

  /** From now on nothing passes between the primary and these replicas, and neither side notices. */
  cutOff(...indexes) {
    for (const index of indexes) this.#ways[index].silenceCurrent()
  }

  /** The port by which a replica follows. */
  wayTo(index) {
    return this.#ways[index].port
  }

  /** All of them follow again. */
  async join() {
    for (const way of this.#ways) way.cut()
    await this.follow()
  }

  async stop() {
    for (const server of [...this.replicas, this.primary]) await server.stop()
    for (const way of this.#ways) await way.close()
  }
}

module.exports = { Replicated }
