'use strict'

const net = require('node:net')

/**
 * What a real sentinel cannot do: lie, be silent, and change its mind. It speaks RESP3. `primary`: the address that it names,
 * `null` for a name that it does not know.
 */
class FakeSentinel {
  #server
  #sockets = new Set()
  /** Whether it answers at all. */
  silent = false
  /** How often it was asked. */
  asked = 0

  static async start({ primary = null, peers = [], silent = false } = {}) {
    const fake = new FakeSentinel()
    Object.assign(fake, { primary, peers, silent })
    fake.#server = net.createServer((socket) => fake.#serve(socket)).listen(0, '127.0.0.1')
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
    if (name === 'hello') return '%2\r\n+server\r\n+redis\r\n+mode\r\n+sentinel\r\n'
    if (name === 'subscribe') return `>3\r\n+subscribe\r\n${bulk(what)}:1\r\n`
    if (what === 'myid') return bulk(`fake-${this.port}`)
    if (what === 'sentinels') return `*${this.peers.length}\r\n${this.peers.map(peer).join('')}`
    if (what !== 'get-master-addr-by-name') return '-ERR unknown command\r\n'
    this.asked++
    return this.primary ? `*2\r\n${bulk(this.primary.host)}${bulk(this.primary.port)}` : '_\r\n'
  }

  /** Tells all that there was a failover. */
  tell(name, from, to) {
    const message = [name, from.host, from.port, to.host, to.port].join(' ')
    for (const socket of this.#sockets)
      socket.write(`>3\r\n${bulk('message')}${bulk('+switch-master')}${bulk(message)}`)
  }

  async stop() {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

const bulk = (value) => `$${String(value).length}\r\n${value}\r\n`
const peer = ({ host, port, id }) => `%3\r\n${['ip', host, 'port', port, 'runid', id].map(bulk).join('')}`

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
