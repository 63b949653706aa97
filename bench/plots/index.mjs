import { crowd } from './crowd.mjs'
import { cycles } from './cycles.mjs'
import { handover } from './handover.mjs'
import { names } from './names.mjs'
import { waits } from './waits.mjs'

/** Pictures of what has been measured, as `{ file: svg }`. */
export function draw(summary) {
  const { hot } = summary
  const pictures = {
    'cycles.svg': (summary.sequential || summary.concurrent) && cycles(summary),
    'waits-5ms.svg': hot?.curves['5 ms'] && waits(hot, '5 ms'),
    'waits-0ms.svg': hot?.curves['0 ms'] && waits(hot, '0 ms'),
    'handover.svg': summary.handover && handover(summary.handover),
    'waiters.svg': summary['growth-waiters'] && crowd(summary['growth-waiters']),
    'names.svg': summary['growth-names'] && names(summary['growth-names']),
  }
  return Object.fromEntries(Object.entries(pictures).filter(([, svg]) => svg))
}
