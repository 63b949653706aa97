'use strict'

const { spawn, execFileSync } = require('node:child_process')
const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const redis = require('redis')
const { killAtExit } = require('./kill-at-exit')

const fetched = (name) => path.join(__dirname, '../../.servers', name)

/** Every server that the tests know, by name. The first one is the machine's own. */
const binaries = {
  redis: () => process.env.REDIS_SERVER ?? 'redis-server',
  'redis-6.2': () => fetched('redis-6.2'),
  'redis-8.2': () => fetched('redis-8.2'),
  'valkey-9.1': () => fetched('valkey-9.1'),
}

const SERVERS = Object.keys(binaries)

/** Keys about lockers, the first two of which name them; on a cluster with a hash tag. */
const LOCKERS = /(client|{client}):(\d{6}|[0-9a-f]{16}:locks)$|([^=}]:client|{client})s$/

/** A real server in a folder and on a port of its own. */
class RedisServer {
  #binary
  #args
  /** What the clients of the tests' own connect with. */
  #credentials
  #child
  #clients = []
  /** The one of `call`. Nobody else has it: the others may be subscribed to something. */
  #caller

  constructor(name, args, password) {
    this.#binary = binaries[name]()
    this.#args = [...args]
    this.#credentials = password === undefined ? {} : { password }
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-'))
    this.socket = path.join(this.directory, 'redis.sock')
  }

  /** Starts it, and starts it again after `stop` or `kill`: on the same port, with nothing of what was in it. */
  async start({ ready = true } = {}) {
    for (let attempt = 1; ; attempt++) {
      this.port ??= await freePort()
      try {
        return await this.#spawn(ready)
      } catch (error) {
        // Another process may have taken the port meanwhile.
        if (attempt === 5 || !/bind|in use/i.test(error.message)) throw error
        this.port = undefined
      }
    }
  }

  #spawn(ready) {
    const own = ['--port', this.port, '--unixsocket', this.socket, '--dir', this.directory]
    const quiet = ['--save', '', '--appendonly', 'no', '--daemonize', 'no', '--enable-debug-command', 'yes']
    // 6.2 has no such setting: there DEBUG is always allowed.
    const args = [...own, ...(this.#binary.endsWith('6.2') ? quiet.slice(0, -2) : quiet), ...this.#args]
    return new Promise((resolve, reject) => {
      const child = killAtExit(spawn(this.#binary, args.map(String), { stdio: ['ignore', 'pipe', 'pipe'] }))
      this.#child = child
      let output = ''
      const read = (data) => {
        output += data
        if (!ready || output.includes('Ready to accept connections')) resolve(this)
      }
      child.stdout.on('data', read)
      child.stderr.on('data', read)
      child.once('error', (error) => {
        reject(new Error(`${this.#binary} cannot be run (${error.code}): node scripts/servers.mjs gets it`))
      })
      child.once('exit', (code) => reject(new Error(`${this.#binary} ended with ${code}: ${output}`)))
    })
  }

  /** For the next start. */
  addArguments(...args) {
    this.#args.push(...args)
  }

  get pid() {
    return this.#child.pid
  }

  /** Sends a command on a connection of the tests' own. */
  call(command, ...args) {
    this.#caller ??= this.client()
    return this.#caller.call(command, ...args)
  }

  /** Several commands at once, for filling it. */
  fill(commands) {
    return Promise.all(commands.map((command) => this.call(...command)))
  }

  client(options = {}) {
    const client = redis.createClient({ port: this.port, ...this.#credentials, ...options })
    client.on('error', () => {})
    client.call = (command, ...args) =>
      new Promise((resolve, reject) => {
        client.send_command(command, args.map(String), (error, reply) =>
          error ? reject(error) : resolve(reply),
        )
      })
    this.#clients.push(client)
    return client
  }

  /**
   * The keys that are there, in order, but for those that say who the lockers are and what they hold: they are left for a minute
   * longer than the longest lease.
   */
  async keys(pattern) {
    const found = await this.call('KEYS', pattern)
    return found.filter((key) => !LOCKERS.test(key)).sort()
  }

  /** Number of commands of this kind since the last reset. */
  async commandCount(name) {
    const stats = await this.call('INFO', 'commandstats')
    return Number(stats.match(new RegExp(`cmdstat_${name}:calls=(\\d+)`))?.[1] ?? 0)
  }

  async kill(signal = 'SIGKILL') {
    const child = this.#child
    this.#caller = undefined
    for (const client of this.#clients.splice(0)) client.end(false)
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await ended
  }

  async stop() {
    await this.kill()
    fs.rmSync(this.directory, { recursive: true, force: true })
  }
}

/** `password`: the one that `args` set. */
function startRedis({ name = 'redis', args = [], port, password, ...options } = {}) {
  const server = new RedisServer(name, args, password)
  server.port = port
  return server.start(options)
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

function serverVersion(name) {
  return execFileSync(binaries[name](), ['--version'], { encoding: 'utf8' })
}

/** The program of a server, by its name. It is a sentinel as well. */
function binaryOf(name) {
  return binaries[name]()
}

module.exports = { SERVERS, binaryOf, startRedis, freePort, serverVersion }
