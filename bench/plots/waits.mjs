import * as Plot from '@observablehq/plot'
import { OURS } from '../contestants/index.mjs'
import { short } from '../lib/figures.mjs'
import { colour, conditionsNote, decades, nameLines, panel, picture, weight } from './frame.mjs'

// Each nine more has the same width. The longest wait of all stands at the end, where it can be drawn.
const END = 3.5
const nines = (q) => (q >= 1 ? END : -Math.log10(1 - q))
const TICKS = [0, 0.5, 0.9, 0.99, 0.999, 1]

export function waits({ curves, figures, conditions }, critical) {
  const points = Object.entries(curves[critical]).flatMap(([name, curve]) =>
    curve.map(([q, wait]) => ({ name, x: nines(q), y: Math.max(wait, 0.01) })),
  )
  // Below the others, so that ours is not hidden.
  points.sort((a, b) => weight(a.name) - weight(b.name))
  const ends = points.filter(({ x }) => x === END)
  const svg = panel({
    height: 414,
    marginLeft: 62,
    marginRight: 165,
    marginTop: 24,
    marginBottom: 46,
    x: {
      domain: [0, END],
      ticks: TICKS.map(nines),
      tickFormat: (x) => (x === END ? 'longest' : `${short((1 - 10 ** -x) * 100)} %`),
      label: 'share of all waits',
      labelAnchor: 'center',
      labelArrow: 'none',
      grid: true,
    },
    y: {
      ...decades(points.map(({ y }) => y)),
      grid: true,
      tickFormat: short,
      label: 'wait, ms (logarithmic)',
    },
    marks: [
      Plot.line(points, {
        x: 'x',
        y: 'y',
        z: 'name',
        stroke: ({ name }) => colour(name),
        strokeWidth: ({ name }) => weight(name),
        curve: 'monotone-x',
      }),
      ...idealMarks(figures, critical),
    ],
  })
  return picture({
    title: `Waiting for one name: 4 processes x 8 waiters, ${critical} of work under the lock`,
    better: 'How long the luckiest to the unluckiest waited: lower and flatter is better',
    panels: [{ svg: nameLines(svg, ends) }],
    note: conditionsNote(conditions),
  })
}

/** Where the 99th percentile would be, at the rate of ours, if whoever came first were served first. */
function idealMarks(figures, critical) {
  const p99 = figures[`${critical}: wait p99, ms`][OURS]?.median
  const beyond = figures[`${critical}: wait p99 / first-come ideal`][OURS]?.median
  if (!(p99 > 0 && beyond > 0)) return []
  const y = p99 / beyond
  return [
    Plot.ruleY([y], { stroke: '#57606a', strokeDasharray: '4 4' }),
    Plot.text([{ x: END, y }], {
      x: 'x',
      y: 'y',
      text: () => 'first come, first served',
      dx: -6,
      dy: 13,
      textAnchor: 'end',
      fill: '#57606a',
      stroke: 'white',
      strokeWidth: 4,
    }),
  ]
}
