'use strict'

const net = require('node:net')

/** A TCP proxy in front of a server, that can misbehave as networks do. */
class Proxy {
  #server
  #links = new Set()
  #answering = true

  static async to(port) {
    const proxy = new Proxy()
    proxy.#server = net.createServer((client) => proxy.#link(client, port)).listen(0, '127.0.0.1')
    await new Promise((resolve) => proxy.#server.once('listening', resolve))
    proxy.port = proxy.#server.address().port
    /** Bytes that the server sent and the client never got. */
    proxy.swallowed = 0
    return proxy
  }

  #link(client, port) {
    const upstream = net.connect(port, '127.0.0.1')
    const link = { client, upstream }
    this.#links.add(link)
    const end = () => {
      client.destroy()
      upstream.destroy()
      this.#links.delete(link)
    }
    client.on('data', (data) => upstream.write(data))
    upstream.on('data', (data) => {
      if (this.#answering) client.write(data)
      else this.swallowed += data.length
    })
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
  }

  get connections() {
    return this.#links.size
  }

  /** From now on the server's answers are lost. */
  swallowReplies() {
    this.#answering = false
  }

  forwardReplies() {
    this.#answering = true
  }

  /** Cuts every connection. */
  cut() {
    for (const { client, upstream } of this.#links) {
      client.destroy()
      upstream.destroy()
    }
  }

  async close() {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

module.exports = { Proxy }
