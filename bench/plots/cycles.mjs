import * as Plot from '@observablehq/plot'
import { label } from '../contestants/index.mjs'
import { short } from '../lib/figures.mjs'
import { colour, conditionsNote, panel, picture } from './frame.mjs'

export function cycles({ sequential, concurrent }) {
  const of = [
    ['One after the other', sequential?.figures['cycles/s']],
    ...[4, 16, 64, 1024].map((count) => [
      `${count} in flight`,
      concurrent?.figures[`${count} in flight: cycles/s`],
    ]),
  ].filter(([, figures]) => figures)
  return picture({
    title: 'Lock and unlock of free names',
    better: 'Cycles a second: longer is better. Grey: no lock library. Thin lines: slowest and fastest round',
    panels: of.map(([caption, figures]) => ({ caption, svg: bars(figures) })),
    note: conditionsNote((concurrent ?? sequential).conditions),
  })
}

function bars(figures) {
  const data = Object.entries(figures).map(([name, spread]) => ({ name, label: label(name), ...spread }))
  const largest = Math.max(...data.map(({ max }) => max))
  return panel({
    height: 40 + data.length * 25,
    marginLeft: 150,
    marginRight: 70,
    marginTop: 4,
    marginBottom: 34,
    x: { domain: [0, largest * 1.02], ticks: 6, grid: true, label: 'cycles/s', tickFormat: short },
    y: { label: null, domain: data.map(({ label }) => label), tickSize: 0 },
    marks: [
      Plot.barX(data, {
        x: 'median',
        y: 'label',
        fill: ({ name }) => colour(name),
        insetTop: 2,
        insetBottom: 2,
      }),
      Plot.ruleY(data, { x1: 'min', x2: 'max', y: 'label', stroke: '#1f2328', strokeWidth: 1.4 }),
      Plot.text(data, {
        x: 'max',
        y: 'label',
        text: ({ median }) => short(median),
        dx: 6,
        textAnchor: 'start',
      }),
    ],
  })
}
