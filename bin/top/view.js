'use strict'

const { columns, filtered, orders, rowsOf } = require('../locks/rows')
const { glob } = require('../text/glob')
const { table } = require('../text/table')
const { plain } = require('../text/words')
const { cut } = require('../text/width')

/** The title, the keys, and the heads of the columns. */
const OTHER_LINES = 3

/** What is to be seen, as keys have set it. */
class View {
  /** @type {import('../..').Snapshot} */
  snapshot = { held: [], pending: [] }
  /** Why there is no newer one. */
  trouble = ''
  #filter = ''
  /** Whether keys are letters of the filter. */
  #isTyping = false
  /** How many rows have been scrolled past. */
  #passed = 0
  #height = 0
  #order

  /** @param {string} title @param {string} order @param {import('../text/paint').Paint} paint */
  constructor(title, order, paint) {
    this.title = title
    this.paint = paint
    this.#order = order
  }

  /** @param {import('./screen').Key} key */
  press(key) {
    if (this.#isTyping) return this.#type(key)
    if (key.name === 's') this.#order = next(this.#order)
    if (key.sequence === '/') this.#isTyping = true
    if (key.name === 'up') this.#passed--
    if (key.name === 'down') this.#passed++
    if (key.name === 'pageup') this.#passed -= this.#height
    if (key.name === 'pagedown') this.#passed += this.#height
  }

  /** @param {import('./screen').Key} key */
  #type({ name, ctrl, sequence }) {
    if (name === 'return' || name === 'enter') this.#isTyping = false
    else if (name === 'escape') [this.#isTyping, this.#filter] = [false, '']
    else if (name === 'backspace') this.#filter = Array.from(this.#filter).slice(0, -1).join('')
    else if (!ctrl && /^\P{Cc}+$/u.test(sequence ?? '')) this.#filter += sequence
  }

  get isTyping() {
    return this.#isTyping
  }

  /** @param {{ width: number, height: number }} screen */
  lines({ width, height }) {
    const { held, pending } = filtered(this.snapshot, this.#takes())
    const rows = rowsOf({ held, pending }, this.#order)
    this.#height = Math.max(1, height - OTHER_LINES)
    this.#passed = Math.max(0, Math.min(this.#passed, rows.length - this.#height))
    const shown = rows.slice(this.#passed, this.#passed + this.#height)
    const [head = '', ...body] = table(columns(this.paint), shown, { width, title: this.paint.dim })
    const counts = `${held.length} held, ${pending.length} waiting, by ${this.#order}`
    const hidden =
      rows.length > shown.length
        ? `, ${this.#passed + 1} to ${this.#passed + shown.length} of ${rows.length}`
        : ''
    return [
      this.paint.bold(cut(`${plain(this.title)}  ${counts}${hidden}`, width)),
      this.#status(width),
      head,
      ...body,
    ]
  }

  /** @param {number} width */
  #status(width) {
    if (this.#isTyping) return cut(`filter: ${plain(this.#filter)}_   Enter keeps it, Esc drops it`, width)
    if (this.trouble) return this.paint.red(cut(plain(this.trouble), width))
    const filter = this.#filter ? `filter: ${plain(this.#filter)}   ` : ''
    return this.paint.dim(cut(`${filter}q quit  / filter  s sort  up, down, page up, page down`, width))
  }

  /** What is part of a name will do, if it is no pattern. */
  #takes() {
    return /[*?[\\]/.test(this.#filter)
      ? glob(this.#filter)
      : (/** @type {string} */ name) => name.includes(this.#filter)
  }
}

/** @param {string} order */
function next(order) {
  const keys = Object.keys(orders)
  return keys[(keys.indexOf(order) + 1) % keys.length] ?? order
}

module.exports = { View }
