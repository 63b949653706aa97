import * as Plot from '@observablehq/plot'
import { contestants, label } from '../contestants/index.mjs'
import { short } from '../lib/figures.mjs'
import { colour, conditionsNote, decades, nameLines, panel, picture, weight } from './frame.mjs'

/** The points of one kind of figure: `{ 'lock-inc: wait p99, ms': { 10: { median, min, max } } }`. */
export function pointsOf(figures, kind) {
  const names = Object.keys(contestants).sort((a, b) => weight(a) - weight(b))
  return names.flatMap((name) =>
    Object.entries(figures[`${label(name)}: ${kind}`] ?? {}).map(([x, spread]) => ({
      name,
      x: Number(x),
      ...spread,
      y: spread.median,
    })),
  )
}

/** Lines over sizes that are powers of ten, with a thin range from the least to the largest round. */
export function lines(points, { y, height = 284 }) {
  const sizes = [...new Set(points.map(({ x }) => x))]
  const last = new Map(points.map((point) => [point.name, point]))
  const of = { x: 'x', z: 'name', stroke: ({ name }) => colour(name) }
  const svg = panel({
    height,
    marginLeft: 62,
    marginRight: 165,
    marginTop: 24,
    marginBottom: 44,
    x: {
      type: 'log',
      ticks: sizes,
      tickFormat: short,
      label: y.sizes,
      labelAnchor: 'center',
      labelArrow: 'none',
    },
    y: { grid: true, tickFormat: short, ...y.scale },
    marks: [
      Plot.ruleX(points, { ...of, y1: 'min', y2: 'max', strokeWidth: 1.2, strokeOpacity: 0.5 }),
      Plot.line(points, { ...of, y: 'y', strokeWidth: ({ name }) => weight(name) }),
      Plot.dot(points, { x: 'x', y: 'y', fill: ({ name }) => colour(name), r: 3 }),
    ],
  })
  return nameLines(svg, [...last.values()])
}

export function crowd({ figures, conditions }) {
  const sizes = 'waiters in 4 processes (logarithmic)'
  const panels = [
    ['Acquisitions a second: higher is better', 'acquisitions/s', 'acquisitions/s (logarithmic)'],
    ['99 % of waits are shorter than this: lower is better', 'wait p99, ms', 'ms (logarithmic)'],
  ]
  return picture({
    title: 'One name, more and more waiters, nothing done under the lock',
    better: 'A lock that many want should not get slower, and should be fair',
    panels: panels.map(([caption, kind, label]) => {
      const points = pointsOf(figures, kind)
      const scale = { ...decades(points.flatMap(({ min, max }) => [min, max])), label }
      return { caption, svg: lines(points, { y: { scale, sizes } }) }
    }),
    note: conditionsNote(conditions),
  })
}
