'use strict'

const { plain, span } = require('../text/words')

/**
 * A holder, or a resource that nobody holds and somebody waits for.
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {string | null} mode
 * @property {string | null} host
 * @property {number | null} pid
 * @property {number | null} held Milliseconds.
 * @property {number | null} lease Milliseconds that are left of it.
 * @property {number | null} waiting How many wait; in the first of the resource's rows.
 */

/** By what rows can be sorted, and how. Rows of one resource stay together by `name` alone. @type {{ [key: string]: (a: Row, b: Row) => number }} */
const orders = {
  name: (a, b) => compare(a.name, b.name),
  held: (a, b) => (b.held ?? -1) - (a.held ?? -1),
  lease: (a, b) => (a.lease ?? Number.POSITIVE_INFINITY) - (b.lease ?? Number.POSITIVE_INFINITY) || 0,
  waiting: (a, b) => (b.waiting ?? 0) - (a.waiting ?? 0),
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  return a < b ? -1 : Number(a > b)
}

/**
 * @param {import('../..').Snapshot} snapshot
 * @param {string} order
 * @returns {Row[]}
 */
function rowsOf({ held, pending }, order) {
  const waiting = new Map()
  for (const { name } of pending) waiting.set(name, (waiting.get(name) ?? 0) + 1)
  const now = Date.now()
  /** @type {Row[]} */
  const rows = held.map(({ name, mode, host, pid, since, leaseLeft }) => {
    const count = waiting.get(name) ?? null
    waiting.delete(name)
    return { name, mode, host, pid, held: since && now - since.getTime(), lease: leaseLeft, waiting: count }
  })
  const unheld = { mode: null, host: null, pid: null, held: null, lease: null }
  for (const [name, count] of waiting) rows.push({ name, ...unheld, waiting: count })
  return rows.sort((a, b) => orders[order]?.(a, b) || compare(a.name, b.name))
}

/** @param {import('../text/paint').Paint} paint @returns {import('../text/table').Column<Row>[]} */
function columns(paint) {
  return [
    { title: 'NAME', cell: ({ name }) => plain(name), least: 12, painted: paint.bold },
    { title: 'MODE', cell: ({ mode }) => mode ?? '-' },
    { title: 'HOST', cell: ({ host }) => (host === null ? '-' : plain(host)), least: 8 },
    { title: 'PID', cell: ({ pid }) => String(pid ?? '-'), right: true },
    { title: 'HELD', cell: ({ held }) => (held === null ? '-' : span(held)), right: true },
    { title: 'LEASE', cell: ({ lease }) => (lease === null ? '-' : span(lease)), right: true },
    {
      title: 'WAITING',
      cell: ({ waiting }) => String(waiting ?? '-'),
      right: true,
      painted: (text, { waiting }) => (waiting ? paint.yellow(text) : text),
    },
  ]
}

/** What is about names that a test takes. @param {import('../..').Snapshot} snapshot @param {(name: string) => boolean} takes */
function filtered({ held, pending }, takes) {
  return { held: held.filter(({ name }) => takes(name)), pending: pending.filter(({ name }) => takes(name)) }
}

module.exports = { columns, filtered, orders, rowsOf }
