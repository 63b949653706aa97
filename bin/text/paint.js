'use strict'

const CODES = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
}

/** Colours, which are left out where the stream is no terminal, or NO_COLOR (https://no-color.org) says so. */
class Paint {
  #on

  /** @param {NodeJS.WriteStream} stream */
  constructor(stream) {
    this.#on = Boolean(stream.isTTY) && !process.env.NO_COLOR && process.env.TERM !== 'dumb'
  }

  /** @param {keyof typeof CODES} style @param {string} text */
  #painted(style, text) {
    const [on, off] = CODES[style]
    return this.#on ? `\x1b[${on}m${text}\x1b[${off}m` : text
  }

  /** @param {string} text */
  bold = (text) => this.#painted('bold', text)
  /** @param {string} text */
  dim = (text) => this.#painted('dim', text)
  /** @param {string} text */
  red = (text) => this.#painted('red', text)
  /** @param {string} text */
  green = (text) => this.#painted('green', text)
  /** @param {string} text */
  yellow = (text) => this.#painted('yellow', text)
  /** @param {string} text */
  cyan = (text) => this.#painted('cyan', text)
}

module.exports = { Paint }
