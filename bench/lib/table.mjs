import { label } from '../contestants/index.mjs'
import { short } from './figures.mjs'

/** The table at the end: what of ours was compared with what, and whether it is what it must be. */
export function table(rows) {
  const lines = rows.map((row) => [
    row.scenario,
    row.measure,
    row.of,
    row.ratio ? short(row.ratio.median) : '',
    row.ratio ? `${short(row.ratio.min)} .. ${short(row.ratio.max)}` : '',
    wanted(row),
    row.found ? [row.found, row.verdict].filter(Boolean).join(': ') : row.verdict,
  ])
  return aligned(
    ['scenario', 'measure', 'against', 'median', 'min .. max', 'must be', ''],
    dropRepeated(lines),
    new Set([3, 4, 5]),
  )
}

function wanted({ atLeast, atMost }) {
  if (atLeast !== undefined) return `>= ${short(atLeast)}`
  return atMost === undefined ? '' : `<= ${short(atMost)}`
}

function dropRepeated(lines) {
  return lines.map((cells, index) => [cells[0] === lines[index - 1]?.[0] ? '' : cells[0], ...cells.slice(1)])
}

/** The figures of one scenario, for all contestants. */
export function figuresTable(figures) {
  return Object.entries(figures)
    .map(([kind, byName]) => {
      const lines = Object.entries(byName).map(([name, { median, min, max }]) => [
        `  ${label(name)}`,
        short(median),
        `${short(min)} .. ${short(max)}`,
      ])
      return aligned([kind, 'median', 'min .. max'], lines, new Set([1, 2]))
    })
    .join('\n')
}

function aligned(head, lines, right) {
  const all = [head, ...lines]
  const widths = head.map((_, column) => Math.max(...all.map((cells) => cells[column].length)))
  return all
    .map((cells) =>
      cells
        .map((cell, column) =>
          right.has(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column]),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
