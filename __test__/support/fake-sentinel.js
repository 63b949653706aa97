'use strict'

const net = require('node:net')

/**
 * What a real sentinel cannot do: lie, be silent, and change its mind. `primary`: the port that it names, `null` for a name that
 * it does not know; `peers`: other fakes that it knows; `replicas`: the ports of those; `silent`: it answers nothing; `resp2`:
 * it does not know HELLO.
 */
class FakeSentinel {
  #server
  #sockets = new Set()
  /** How often it was asked. */
  asked = 0

  static async start({ primary = null, peers = [], replicas = [], silent = false, resp2 = false } = {}) {
    const fake = new FakeSentinel()
    Object.assign(fake, { primary, peers, replicas, silent, resp2 })
    fake.#server = net.createServer((socket) => fake.#serve(socket)).listen(0, host)
    await new Promise((resolve) => fake.#server.once('listening', resolve))
    fake.port = fake.#server.address().port
    return fake
  }

  #serve(socket) {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket)).on('error', () => {})
    let text = ''
    socket.on('data', (data) => {
      text += data
      for (;;) {
        const { command, rest } = parse(text)
        if (!command) return
        text = rest
        if (!this.silent) socket.write(this.#answer(command.map((word) => word.toLowerCase())))
      }
    })
  }

  #answer([name, what]) {
    if (name === 'hello' && this.resp2) return "-ERR unknown command 'HELLO'\r\n"
    if (name === 'hello') return '%2\r\n+server\r\n+redis\r\n+mode\r\n+sentinel\r\n'
    if (name === 'subscribe') return `>3\r\n+subscribe\r\n${bulk(what)}:1\r\n`
    if (what === 'myid') return bulk(`fake-${this.port}`)
    if (what === 'sentinels') return rows(this.peers.map(({ port }) => port))
    if (what === 'replicas') return rows(this.replicas)
    if (what !== 'get-master-addr-by-name') return '-ERR unknown command\r\n'
    this.asked++
    if (this.primary === null) return this.resp2 ? '*-1\r\n' : '_\r\n'
    return `*2\r\n${bulk(host)}${bulk(this.primary)}`
  }

  /** From now on it names another primary, and tells all who have subscribed. */
  switchTo(primary) {
    const message = [GROUP, host, this.primary ?? 0, host, primary].join(' ')
    this.primary = primary
    this.#tell('+switch-master', message)
  }

  /** Tells that a replica is to become the primary. */
  select(port) {
    const message = `slave ${host}:${port} ${host} ${port} @ ${GROUP} ${host} ${this.primary}`
    this.#tell('+selected-slave', message)
  }

  #tell(channel, message) {
    for (const socket of this.#sockets)
      socket.write(`>3\r\n${['message', channel, message].map(bulk).join('')}`)
  }

  get connections() {
    return this.#sockets.size
  }

  async stop() {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

const host = '127.0.0.1'
const GROUP = 'mymaster'

const bulk = (value) => `$${String(value).length}\r\n${value}\r\n`
const rows = (ports) => `*${ports.length}\r\n${ports.map(row).join('')}`
const row = (port) => `%3\r\n${['ip', host, 'port', port, 'runid', `fake-${port}`].map(bulk).join('')}`

/** The first command in a text, and what follows it. */
function parse(text) {
  const parts = text.split('\r\n')
  if (!parts[0].startsWith('*') || parts.length <= 1) return {}
  const count = Number(parts[0].slice(1))
  if (parts.length < 1 + count * 2 + 1) return {}
  const command = Array.from({ length: count }, (_, index) => parts[2 + index * 2])
  return { command, rest: parts.slice(1 + count * 2).join('\r\n') }
}

module.exports = { FakeSentinel }
