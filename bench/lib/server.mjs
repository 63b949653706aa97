import { spawn } from 'node:child_process'
import net from 'node:net'
import { Redis } from 'ioredis'
import { killAtExit, temporaryDirectory } from './processes.mjs'

export const binary = process.env.REDIS_SERVER ?? 'redis-server'

/** A real server on a port of its own, which keeps nothing on disk. */
export class Server {
  #child
  #client

  static async start(path = binary) {
    for (let attempt = 1; ; attempt++) {
      const server = new Server()
      server.port = await freePort()
      try {
        await server.#spawn(path)
        server.#client = new Redis(server.port)
        return server
      } catch (error) {
        // Another process may have taken the port meanwhile.
        if (attempt === 5 || !/bind|in use/i.test(error.message)) throw error
      }
    }
  }

  #spawn(path) {
    const quiet = ['--save', '', '--appendonly', 'no', '--daemonize', 'no', '--bind', '127.0.0.1']
    const args = ['--port', String(this.port), '--dir', temporaryDirectory(), ...quiet]
    return new Promise((resolve, reject) => {
      const child = killAtExit(spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'] }))
      this.#child = child
      let output = ''
      const read = (data) => {
        output = (output + data).slice(-4096)
        if (output.includes('Ready to accept connections')) resolve()
      }
      child.stdout.on('data', read)
      child.stderr.on('data', read)
      child.once('error', (error) => reject(new Error(`${path} cannot be run (${error.code})`)))
      child.once('exit', (code) => reject(new Error(`${path} ended with ${code}: ${output}`)))
    })
  }

  call(command, ...args) {
    return this.#client.call(command, ...args)
  }

  /** Such as `Redis 7.0.15`. */
  async version() {
    const info = await this.call('INFO', 'server')
    const valkey = info.match(/^valkey_version:(\S+)/m)?.[1]
    return valkey ? `Valkey ${valkey}` : `Redis ${info.match(/^redis_version:(\S+)/m)[1]}`
  }

  /** Calls of each command since the last reset, those from inside scripts included. */
  async commands() {
    const stats = await this.call('INFO', 'commandstats')
    const found = stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)
    return Object.fromEntries(Array.from(found, ([, name, calls]) => [name, Number(calls)]))
  }

  /** Of all scripts since the last reset: µs of each, and how many commands each has called. */
  async scriptCost() {
    const stats = await this.call('INFO', 'commandstats')
    const found = Array.from(stats.matchAll(/^cmdstat_([^:]+):calls=(\d+),usec=(\d+)/gm))
    const scripts = { calls: 0, us: 0, inside: 0 }
    for (const [, name, calls, us] of found) {
      if (name.startsWith('eval')) {
        scripts.calls += Number(calls)
        scripts.us += Number(us)
      } else if (!/^(config|info|script|dbsize|ping|hello|client|subscribe|select)/.test(name)) {
        scripts.inside += Number(calls)
      }
    }
    return { us: scripts.us / scripts.calls, inside: scripts.inside / scripts.calls, scripts: scripts.calls }
  }

  /** CPU time that the server has used, in µs. */
  async cpu() {
    return mainThreadUs(await this.call('INFO', 'cpu'))
  }

  resetCounters() {
    return this.call('CONFIG', 'RESETSTAT')
  }

  /**
   * Which commands clients send and which scripts call, while `work` runs. Only MONITOR tells the two apart; it
   * costs the server too much to run beside a measurement.
   */
  async watchCommands(work) {
    const sent = new Set()
    const scripted = new Set()
    const monitor = await this.#client.monitor()
    const end = 'end of what is watched'
    const seen = new Promise((resolve) => {
      monitor.on('monitor', (_time, [command, argument], source) => {
        if (argument === end) resolve()
        else (source === 'lua' ? scripted : sent).add(command.toLowerCase())
      })
    })
    try {
      await work()
      await this.call('ECHO', end)
      await seen
    } finally {
      monitor.disconnect()
    }
    return { sent, scripted }
  }

  async stop() {
    this.#client.disconnect()
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }
}

/** Of what `INFO cpu` says. */
export function mainThreadUs(info) {
  const of = (kind) => Number(info.match(new RegExp(`^used_cpu_${kind}_main_thread:([\\d.]+)`, 'm'))[1])
  return (of('sys') + of('user')) * 1e6
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}
