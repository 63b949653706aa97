'use strict'

const net = require('node:net')

/** A TCP proxy in front of a server, that can misbehave as networks do. */
class FaultyProxy {
  #server
  #target
  #links = new Set()
  #answering = true
  #held = false
  #dropping = false
  /** How long everything takes on its way, in ms, there and back. */
  delay = 0

  /** `ownPort`: to stand where another one stood before. */
  static async to(port, ownPort = 0) {
    const proxy = new FaultyProxy()
    proxy.#target = port
    proxy.#server = net.createServer((client) => proxy.#link(client)).listen(ownPort, '127.0.0.1')
    await new Promise((resolve) => proxy.#server.once('listening', resolve))
    proxy.port = proxy.#server.address().port
    return proxy
  }

  #link(client) {
    const upstream = net.connect(this.#target, '127.0.0.1')
    const link = {
      client,
      upstream,
      silent: false,
      subscribed: false,
      held: false,
      waiting: [],
      requests: undefined,
    }
    this.#links.add(link)
    const end = () => {
      client.destroy()
      // What is held up arrives, even if its sender is gone.
      if (link.requests) return
      upstream.destroy()
      this.#links.delete(link)
    }
    // One after the other, also when the delay changes meanwhile.
    const passing = new Map([client, upstream].map((socket) => [socket, Promise.resolve()]))
    const pass = (socket, data) => {
      const due = performance.now() + this.delay
      const late = () => due - performance.now()
      const passed = passing.get(socket).then(async () => {
        if (late() > 0) await new Promise((resolve) => setTimeout(resolve, late()))
        socket.write(data)
      })
      passing.set(socket, passed)
    }
    client.on('data', (data) => {
      link.subscribed ||= data.includes('SUBSCRIBE')
      if (link.requests) link.requests.push(data)
      else if (!link.silent) pass(upstream, data)
    })
    upstream.on('data', (data) => {
      if (link.silent || !this.#answering) return
      const rest = this.#dropping ? withoutMessages(data) : data
      if (this.#held || link.held) link.waiting.push(rest)
      else if (rest.length > 0) pass(client, rest)
    })
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
  }

  /** Connections that are made from now on lead to another server. */
  leadTo(port) {
    this.#target = port
  }

  /** From now on the server's answers are lost. */
  swallowReplies() {
    this.#answering = false
  }

  forwardReplies() {
    this.#answering = true
  }

  /** From now on what the server publishes is lost; answers are not. */
  dropMessages() {
    this.#dropping = true
  }

  /** What is sent on the connections of now waits on its way. */
  holdRequests() {
    for (const link of this.#links) link.requests = []
  }

  /** The same on those that are not there for messages. */
  holdUnsubscribed() {
    for (const link of this.#links) if (!link.subscribed) link.requests = []
  }

  /** It arrives. */
  releaseRequests() {
    for (const link of this.#links) {
      for (const data of link.requests?.splice(0) ?? []) link.upstream.write(data)
      link.requests = undefined
    }
  }

  /** Answers wait, and then come all at once. */
  holdReplies() {
    this.#held = true
  }

  /** The same on the connections of now alone. */
  holdCurrent() {
    for (const link of this.#links) link.held = true
  }

  /** The same on those that are there for messages. */
  holdSubscribed() {
    for (const link of this.#links) link.held = link.subscribed
  }

  /** What waits. */
  heldReplies() {
    return [...this.#links].map(({ waiting }) => Buffer.concat(waiting).toString('latin1')).join('')
  }

  releaseReplies() {
    this.#held = false
    for (const link of this.#links) {
      link.held = false
      link.client.write(Buffer.concat(link.waiting.splice(0)))
    }
  }

  /** What waits comes. Later answers wait on. */
  passHeld() {
    for (const link of this.#links) link.client.write(Buffer.concat(link.waiting.splice(0)))
  }

  /** Of the answers that wait so many bytes come, and then nothing more on these connections. */
  cutReplies(bytes) {
    this.#held = false
    for (const { client, waiting } of this.#links)
      client.end(Buffer.concat(waiting.splice(0)).subarray(0, bytes))
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

/** Takes published messages out of what a server sends in RESP3. They are short, and come in one piece. */
function withoutMessages(data) {
  const text = data.toString('latin1')
  return Buffer.from(text.replaceAll(/>3\r\n\$7\r\nmessage\r\n\$\d+\r\n.*\r\n\$\d+\r\n.*\r\n/g, ''), 'latin1')
}

module.exports = { FaultyProxy }
