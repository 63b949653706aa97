import net from 'node:net'
import { sha } from '../contestants/our-scripts.mjs'

const END = 'end of the pipeline'

/** A command as a client sends it: its name, or a script, and its arguments. */
export function encode([name, ...args]) {
  const parts = name.source === undefined ? [name, ...args] : ['EVALSHA', sha(name.source), ...args]
  return `*${parts.length}\r\n${parts.map((part) => `$${part.length}\r\n${part}\r\n`).join('')}`
}

/** A connection that sends what is given to it as it stands, as fast as the server takes it. */
export class Wire {
  #socket
  #heard = ''
  #waiting

  static async to(port) {
    const wire = new Wire()
    wire.#socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    wire.#socket.setEncoding('latin1')
    wire.#socket.on('data', (data) => wire.#read(data))
    await new Promise((resolve, reject) => wire.#socket.once('connect', resolve).once('error', reject))
    return wire
  }

  /** Sends commands that are encoded already. Resolves when all are answered; rejects where one of them is an error. */
  send(text) {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#heard = ''
      this.#socket.write(text + encode(['ECHO', END]), 'latin1')
    })
  }

  #read(data) {
    this.#heard += data
    if (!this.#heard.endsWith(`${END}\r\n`)) return
    const error = this.#heard.match(/^-.*$/m)
    if (error) this.#waiting.reject(new Error(error[0].trim()))
    else this.#waiting.resolve()
  }

  close() {
    this.#socket.destroy()
  }
}
