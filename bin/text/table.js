'use strict'

const { cut, pad, widthOf } = require('./width')

/**
 * @template Row
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: Row) => string} cell On one line, without colours.
 * @property {boolean} [right] Whether it is put to the right, as numbers are.
 * @property {number} [least] It may be cut down to so much where the table is too wide.
 * @property {(text: string, row: Row) => string} [painted]
 */

const GAP = 2

/**
 * The lines of a table, the titles first.
 *
 * @template Row
 * @param {readonly Column<Row>[]} columns Those that may be cut, the first of them first.
 * @param {readonly Row[]} rows
 * @param {object} [room]
 * @param {number} [room.width] Of the terminal; without one nothing is cut.
 * @param {(text: string) => string} [room.title] How the titles are painted.
 */
function table(columns, rows, { width, title = String } = {}) {
  const cells = rows.map((row) => columns.map((column) => column.cell(row)))
  const widths = columns.map(({ title }, index) =>
    cells.reduce((most, line) => Math.max(most, widthOf(line[index] ?? '')), widthOf(title)),
  )
  if (width !== undefined) narrow(columns, widths, width)
  /** @param {string[]} texts @param {(text: string, index: number) => string} paint */
  const line = (texts, paint) =>
    texts
      .map((text, index) => {
        const room = widths[index] ?? 0
        const isLast = index === texts.length - 1 && !columns[index]?.right
        const shown = cut(text, room)
        return paint(isLast ? shown : pad(shown, room, columns[index]?.right), index)
      })
      .join(' '.repeat(GAP))
  return [
    line(
      columns.map(({ title }) => title),
      (text) => title(text),
    ),
    ...rows.map((row, at) =>
      line(cells[at] ?? [], (text, index) => columns[index]?.painted?.(text, row) ?? text),
    ),
  ]
}

/**
 * Takes what is too much from the columns that may be cut.
 *
 * @param {readonly Column<any>[]} columns
 * @param {number[]} widths
 * @param {number} width
 */
function narrow(columns, widths, width) {
  let over = widths.reduce((sum, each) => sum + each, GAP * (columns.length - 1)) - width
  for (const [index, { least = Number.POSITIVE_INFINITY }] of columns.entries()) {
    const own = widths[index] ?? 0
    const taken = Math.min(Math.max(over, 0), Math.max(own - least, 0))
    widths[index] = own - taken
    over -= taken
  }
}

module.exports = { table }
