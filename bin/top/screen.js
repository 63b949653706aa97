'use strict'

const { writeSync } = require('node:fs')
const readline = require('node:readline')

// https://invisible-island.net/xterm/ctlseqs/ctlseqs.html
const [ENTER, LEAVE] = ['\x1b[?1049h\x1b[?25l', '\x1b[?25h\x1b[?1049l']
const [HOME, END_OF_LINE, END_OF_SCREEN] = ['\x1b[H', '\x1b[K', '\x1b[J']

/** @typedef {{ name?: string, ctrl?: boolean, sequence?: string }} Key */

/** The terminal while it is ours: its other screen, without a cursor, and each key as it is pressed. */
class Screen {
  #isOpen = false
  #onKey
  #leave = () => this.leave()

  /** @param {(key: Key) => void} onKey */
  constructor(onKey) {
    readline.emitKeypressEvents(process.stdin)
    this.#onKey = (/** @type {unknown} */ _, /** @type {any} */ key) => onKey(key)
  }

  enter() {
    if (this.#isOpen) return
    this.#isOpen = true
    // However this program ends.
    process.once('exit', this.#leave)
    process.stdout.write(ENTER)
    process.stdin.setRawMode(true)
    process.stdin.on('keypress', this.#onKey)
    process.stdin.resume()
  }

  leave() {
    if (!this.#isOpen) return
    this.#isOpen = false
    process.off('exit', this.#leave)
    process.stdin.off('keypress', this.#onKey)
    try {
      process.stdin.setRawMode(false)
      // At once: there may be no later.
      writeSync(1, LEAVE)
    } catch (/** @type {any} */ error) {
      // The terminal has gone.
      if (error.code !== 'EIO') throw error
    }
    process.stdin.pause()
  }

  get width() {
    return process.stdout.columns || 80
  }

  get height() {
    return process.stdout.rows || 24
  }

  /** @param {string[]} lines None wider than the screen, and no more than it has. */
  draw(lines) {
    if (!this.#isOpen) return
    process.stdout.write(HOME + lines.map((line) => line + END_OF_LINE).join('\r\n') + END_OF_SCREEN)
  }
}

module.exports = { Screen }
