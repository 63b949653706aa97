import { lines, pointsOf } from './crowd.mjs'
import { conditionsNote, picture } from './frame.mjs'

export function names({ figures, conditions }) {
  const points = pointsOf(figures, 'us/cycle')
  const top = Math.max(...points.map(({ max }) => max))
  const scale = { domain: [0, top], label: 'microseconds for lock and unlock', ticks: 5 }
  const sizes = 'names that are held meanwhile (logarithmic)'
  return picture({
    title: 'Lock and unlock beside many held names',
    better: 'Time of a cycle: lower is better, and it should be flat',
    panels: [{ svg: lines(points, { y: { scale, sizes }, height: 344 }) }],
    note: conditionsNote(conditions),
  })
}
