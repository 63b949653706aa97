'use strict'

const { specOf } = require('./arguments/connection')
const { Paint } = require('./text/paint')

/** What a command gets to work with. */
class Context {
  /** @type {import('..').Locker[]} */
  #lockers = []

  /** @param {import('./arguments/parse').Given} given */
  constructor({ options, positionals, rest }) {
    this.options = options
    this.positionals = positionals
    /** What came after `--`. */
    this.rest = rest
    /** The argument of `lockFactory`. */
    this.spec = specOf(options, process.env)
    /** Colours for stdout, where it is a terminal. */
    this.paint = new Paint(process.stdout)
  }

  /** What the keys of locks begin with, for texts. */
  get prefix() {
    return this.spec.settings.prefix
  }

  /** A locker on the Redis that the options name, which is closed when the command has ended. @param {object} [settings] */
  openLocker(settings) {
    // Not before it is needed: help must work where the addon cannot be loaded.
    const lockFactory = require('..')
    const locker = lockFactory({ ...this.spec, settings: { ...this.spec.settings, ...settings } })
    this.#lockers.push(locker)
    return locker
  }

  /** Writes a line to stdout. */
  print(text = '') {
    process.stdout.write(`${text}\n`)
  }

  /** @param {string[]} lines */
  printAll(lines) {
    this.print(lines.join('\n'))
  }

  /** Also what a terminal would take for control characters is escaped. @param {unknown} value */
  printJson(value) {
    const escaped = (/** @type {string} */ one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`
    this.print(JSON.stringify(value, null, 2).replace(/[\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g, escaped))
  }

  /** How wide tables are, and how their titles look. */
  get room() {
    return { width: process.stdout.isTTY ? process.stdout.columns : undefined, title: this.paint.dim }
  }

  /** Writes a message to stderr. @param {string} text */
  say(text) {
    process.stderr.write(`lock-inc: ${text}\n`)
  }

  async close() {
    await Promise.all(this.#lockers.splice(0).map((locker) => locker.close()))
  }
}

module.exports = { Context }
