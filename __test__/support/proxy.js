'use strict'

const net = require('node:net')

/** A TCP proxy in front of a server, that can misbehave as networks do. */
class FaultyProxy {
  #server
  #links = new Set()
  #answering = true

  /** `ownPort`: to stand where another one stood before. */
  static async to(port, ownPort = 0) {
    const proxy = new FaultyProxy()
    proxy.#server = net.createServer((client) => proxy.#link(client, port)).listen(ownPort, '127.0.0.1')
    await new Promise((resolve) => proxy.#server.once('listening', resolve))
    proxy.port = proxy.#server.address().port
    return proxy
  }

  #link(client, port) {
    const upstream = net.connect(port, '127.0.0.1')
    const link = { client, upstream, silent: false }
    this.#links.add(link)
    const end = () => {
      client.destroy()
      upstream.destroy()
      this.#links.delete(link)
    }
    client.on('data', (data) => link.silent || upstream.write(data))
    upstream.on('data', (data) => link.silent || !this.#answering || client.write(data))
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
  }

  /** From now on the server's answers are lost. */
  swallowReplies() {
    this.#answering = false
  }

  forwardReplies() {
    this.#answering = true
  }

  /** The connections of now stay open, but nothing goes through them any more. */
  silenceCurrent() {
    for (const link of this.#links) link.silent = true
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

module.exports = { FaultyProxy }
