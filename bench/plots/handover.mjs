import * as Plot from '@observablehq/plot'
import { label } from '../contestants/index.mjs'
import { short } from '../lib/figures.mjs'
import { colour, conditionsNote, decades, panel, picture } from './frame.mjs'

export function handover({ figures, conditions }) {
  const data = Object.entries(figures['p50, ms']).map(([name, p50]) => ({
    name,
    label: label(name),
    p50: p50.median,
    p99: figures['p99, ms'][name].median,
  }))
  const svg = panel({
    height: 56 + data.length * 28,
    marginLeft: 200,
    marginRight: 80,
    marginTop: 6,
    marginBottom: 44,
    x: {
      ...decades(data.flatMap(({ p50, p99 }) => [p50 * 0.8, p99])),
      grid: true,
      tickFormat: short,
      label: 'ms (logarithmic)',
      labelAnchor: 'center',
      labelArrow: 'none',
    },
    y: { type: 'band', label: null, domain: data.map(({ label }) => label), tickSize: 0 },
    marks: [
      Plot.ruleY(data, {
        x1: 'p50',
        x2: 'p99',
        y: 'label',
        stroke: ({ name }) => colour(name),
        strokeWidth: 6,
        strokeOpacity: 0.3,
      }),
      Plot.dot(data, { x: 'p50', y: 'label', fill: ({ name }) => colour(name), r: 6 }),
      Plot.tickX(data, {
        x: 'p99',
        y: 'label',
        stroke: ({ name }) => colour(name),
        strokeWidth: 2,
        inset: 6,
      }),
      Plot.text(data, {
        x: 'p99',
        y: 'label',
        text: ({ p50 }) => `${short(p50)} ms`,
        dx: 8,
        textAnchor: 'start',
      }),
    ],
  })
  return picture({
    title: 'From unlock in one process to the lock in another',
    better: 'Further left is better. Dot and number: half are shorter. Line: 99 % are. PING: one round trip',
    panels: [{ svg }],
    note: conditionsNote(conditions),
  })
}
