'use strict'

const { spawn } = require('node:child_process')
const crypto = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const redis = require('redis')
const lockFactory = require('../..')
const { killAtExit, send } = require('./kill-at-exit')
const { binaryOf, freePort, startRedis } = require('./redis-server')
const { until } = require('./until')

const host = '127.0.0.1'

/** What the sentinels call the group. */
const GROUP = 'mymaster'

/** A real sentinel in a folder and on a port of its own, in which it writes its configuration itself. */
class Sentinel {
  #directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-sentinel-'))
  #child
  #client

  /**
   * `settings`: lines of its configuration; `password`: what these say; `tls`: files, with which it speaks TLS on `port`, and
   * without on `controlPort`.
   */
  static async start(name, settings, { password, tls }) {
    const sentinel = new Sentinel()
    sentinel.password = password
    sentinel.port = await freePort()
    sentinel.controlPort = tls ? await freePort() : sentinel.port
    const ports = [`port ${sentinel.controlPort}`, ...(tls ? [`tls-port ${sentinel.port}`] : [])]
    const file = path.join(sentinel.#directory, 'sentinel.conf')
    const lines = [`bind ${host}`, `dir ${sentinel.#directory}`, ...ports, ...settings]
    fs.writeFileSync(file, lines.map((line) => `${line}\n`).join(''))
    sentinel.#child = killAtExit(
      spawn(binaryOf(name), [file, '--sentinel'], { stdio: ['ignore', 'pipe', 'pipe'] }),
    )
    let output = ''
    for (const stream of [sentinel.#child.stdout, sentinel.#child.stderr]) {
      stream.on('data', (data) => {
        output += data
      })
    }
    const ended = () => sentinel.#child.exitCode !== null
    await until(() => output.includes('Sentinel ID is') || ended(), 'a sentinel has started')
    if (ended()) throw new Error(`A sentinel ended: ${output}`)
    return sentinel
  }

  get pid() {
    return this.#child.pid
  }

  call(command, ...args) {
    if (!this.#client) {
      const { password } = this
      this.#client = redis.createClient({ port: this.controlPort, ...(password && { password }) })
      this.#client.on('error', () => {})
    }
    return new Promise((resolve, reject) => {
      this.#client.send_command(command, args.map(String), (error, reply) =>
        error ? reject(error) : resolve(reply),
      )
    })
  }

  /** The rows of a reply such as that to `SENTINEL REPLICAS`. */
  async rows(...args) {
    const rows = await this.call('SENTINEL', ...args)
    const pairs = (row) => row.flatMap((name, index) => (index % 2 ? [] : [[name, row[index + 1]]]))
    return rows.map((row) => Object.fromEntries(pairs(row)))
  }

  /** The port of the primary, as it sees it. */
  async primaryPort() {
    const [, port] = await this.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', GROUP)
    return Number(port)
  }

  /** Connections of lockers, or of anything else that has subscribed to failovers. */
  async subscribers() {
    const list = await this.call('CLIENT', 'LIST')
    return list.split('\n').filter((line) => / sub=[1-9]/.test(line)).length
  }

  get isAlive() {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  signal(signal) {
    send(this.#child, signal)
  }

  async kill() {
    this.#client?.end(false)
    this.#client = undefined
    if (!this.isAlive) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.signal('SIGKILL')
    await ended
  }

  async stop() {
    await this.kill()
    fs.rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** A primary, its replicas, and the sentinels that watch over them. */
class SentinelGroup {
  servers = []
  sentinels = []
  #password
  #tls

  /**
   * @param {{ name?: string, args?: (string | number)[], replicas?: number, sentinels?: number, downAfter?: number,
   *   password?: string, sentinelPassword?: string, tls?: { cert: string, key: string, ca: string } }} options `name`: of the
   *   server; `args`: what each server is started with besides; `downAfter`: after how many milliseconds of silence a server is
   *   down; `tls`: files, with which all of them speak TLS.
   */
  static async start({
    name = 'redis',
    args = [],
    replicas = 2,
    sentinels = 3,
    downAfter = 1000,
    password,
    sentinelPassword,
    tls,
  } = {}) {
    const group = new SentinelGroup()
    group.#password = password
    group.#tls = tls
    try {
      await group.#startServers(name, replicas, args)
      const settings = [
        ...(tls ? linesOf(tlsSettings(tls)) : []),
        `sentinel monitor ${GROUP} ${host} ${group.portOf(group.servers[0])} ${Math.min(2, sentinels)}`,
        `sentinel down-after-milliseconds ${GROUP} ${downAfter}`,
        `sentinel failover-timeout ${GROUP} 5000`,
        `sentinel parallel-syncs ${GROUP} ${replicas}`,
        ...(password ? [`sentinel auth-pass ${GROUP} ${password}`] : []),
        ...(sentinelPassword ? [`requirepass ${sentinelPassword}`] : []),
      ]
      const started = Array.from({ length: sentinels }, async () => {
        group.sentinels.push(await Sentinel.start(name, settings, { password: sentinelPassword, tls }))
      })
      await Promise.all(started)
      await group.ready()
    } catch (error) {
      await group.stop()
      throw error
    }
    return group
  }

  async #startServers(name, replicas, args) {
    const password = this.#password
    const quick = ['--repl-diskless-sync-delay', 0, '--repl-diskless-sync', 'yes', ...args]
    const secret = password ? ['--requirepass', password, '--masterauth', password] : []
    const start = async (...more) => {
      const tlsPort = this.#tls && (await freePort())
      const tls = this.#tls ? ['--tls-port', tlsPort, ...argumentsOf(tlsSettings(this.#tls))] : []
      const server = await startRedis({ name, args: [...quick, ...secret, ...tls, ...more], password })
      this.servers.push(Object.assign(server, { tlsPort }))
      return server
    }
    const primary = await start()
    const of = ['--replicaof', host, this.portOf(primary)]
    await Promise.all(Array.from({ length: replicas }, () => start(...of)))
    await this.#connected(primary, replicas)
  }

  async #connected(primary, replicas) {
    await until(async () => {
      const info = await primary.call('INFO', 'replication')
      return info.match(/state=online/g)?.length === replicas
    }, 'the replicas are connected')
  }

  /** Where it is, as the sentinels have it. */
  portOf(server) {
    return server.tlsPort ?? server.port
  }

  /** Waits until each sentinel knows all others and all replicas, which are connected. */
  async ready() {
    for (const sentinel of this.sentinels) {
      await until(async () => {
        const [replicas, others] = await Promise.all(
          ['REPLICAS', 'SENTINELS'].map((what) => sentinel.rows(what, GROUP)),
        )
        const isSound = ({ flags }) => flags === 'slave' || flags === 'sentinel'
        return (
          others.length === this.sentinels.length - 1 &&
          replicas.length === this.servers.length - 1 &&
          replicas.every((replica) => replica['master-link-status'] === 'ok') &&
          [...replicas, ...others].every(isSound)
        )
      }, 'a sentinel knows all others')
    }
  }

  /** What `config` takes. */
  config(sentinels = this.sentinels) {
    return { name: GROUP, sentinels: sentinels.map(({ port }) => ({ host, port })) }
  }

  /** The server that most of the living sentinels have as the primary. */
  async primary() {
    const living = this.sentinels.filter(({ isAlive }) => isAlive)
    const ports = await Promise.all(living.map((sentinel) => sentinel.primaryPort()))
    const port = ports.sort().at(Math.floor(ports.length / 2))
    return this.servers.find((server) => this.portOf(server) === port)
  }

  /** Waits until the replicas have all that the primary has carried out so far. */
  async replicated(primary) {
    await primary.call('SET', 'replicated', 1)
    await primary.call('WAIT', this.servers.length - 1, 10_000)
  }

  /** Waits until all living sentinels have another primary than this one. It. */
  async failedOver(from) {
    let primary
    await until(async () => {
      const living = this.sentinels.filter(({ isAlive }) => isAlive)
      const ports = new Set(await Promise.all(living.map((sentinel) => sentinel.primaryPort())))
      primary = this.servers.find((server) => ports.has(this.portOf(server)))
      return ports.size === 1 && primary !== from
    }, 'the sentinels agree on another primary')
    return primary
  }

  async stop() {
    await Promise.all([...this.sentinels, ...this.servers].map((one) => one.stop()))
  }
}

const tlsSettings = ({ cert, key, ca }) => ({
  'tls-cert-file': cert,
  'tls-key-file': key,
  'tls-ca-cert-file': ca,
  'tls-auth-clients': 'no',
  'tls-replication': 'yes',
})
const linesOf = (settings) => Object.entries(settings).map((setting) => setting.join(' '))
const argumentsOf = (settings) => Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])

/** The connections of lockers that a server has. */
async function lockersOn(server) {
  const list = await server.call('CLIENT', 'LIST')
  return list.split('\n').filter((line) => / name=lock-inc:/.test(line))
}

/** Makes lockers under a prefix of each test's own, which are closed at its end. */
function lockersByTest() {
  const opened = []
  const scene = {
    prefix: undefined,

    /** `settings` aside, options are those of `config`. */
    newLocker({ settings, ...config }) {
      const locker = lockFactory({
        driver: 'redis',
        config,
        settings: { prefix: scene.prefix, ...settings },
      })
      opened.push(locker)
      return locker
    },
  }

  beforeEach(() => {
    scene.prefix = `${crypto.randomUUID()}:`
  })

  afterEach(() => Promise.all(opened.splice(0).map((locker) => locker.close())))

  return scene
}

module.exports = { GROUP, SentinelGroup, lockersByTest, lockersOn }
