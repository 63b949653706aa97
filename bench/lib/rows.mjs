import { BESIDE, builds, label, OURS } from '../contestants/index.mjs'
import { ratios, short, spread } from './figures.mjs'

/** The figure of each contestant in each round, as `{ name: [numbers] }`. */
export function perRound(measured, pick) {
  return Object.fromEntries(Array.from(measured, ([name, rounds]) => [name, rounds.map(pick)]))
}

export function spreads(figures) {
  return Object.fromEntries(Object.entries(figures).map(([name, rounds]) => [name, spread(rounds)]))
}

/** Who of `names` has the best median: the smallest, or with `most` the largest. */
export function best(figures, names, { most = false } = {}) {
  const found = names.filter((name) => figures[name]?.length > 0)
  const value = (name) => spread(figures[name]).median * (most ? -1 : 1)
  return found.sort((a, b) => value(a) - value(b))[0]
}

/** A line of the table: ours against another contestant. */
export function against(scenario, measure, figures, ours, other, target = {}) {
  const values = ratios(figures[ours] ?? [], figures[other] ?? [])
  const of = other === undefined ? 'nobody who finished' : label(other)
  return line(scenario, measure, of, values, target)
}

/** The line that compares ours with another build of it, where there is one. */
export function beside(scenario, measure, figures) {
  return builds.includes(BESIDE) ? [against(scenario, measure, figures, OURS, BESIDE)] : []
}

/** A line of the table. Targets: `atLeast` or `atMost` a number, or none. */
export function line(scenario, measure, of, values, target = {}) {
  if (values.length === 0) return { scenario, measure, of, ...target, verdict: 'not measured' }
  const ratio = spread(values)
  return { scenario, measure, of, ratio, ...target, verdict: verdict(ratio.median, target) }
}

function verdict(value, { atLeast, atMost }) {
  if (atLeast !== undefined) {
    return value >= atLeast ? 'reached' : `missed by ${percent(1 - value / atLeast)}`
  }
  if (atMost !== undefined) {
    const excess = value / atMost
    if (excess === Infinity) return 'missed'
    if (excess <= 1) return 'reached'
    return excess < 2 ? `missed by ${percent(excess - 1)}` : `missed, ${short(excess)} x too much`
  }
  return ''
}

// Never "missed by 0 %".
const percent = (share) => (share < 0.01 ? '< 1 %' : `${Math.round(share * 100)} %`)

/** A line about something that is so or is not. */
export function fact(scenario, measure, of, found, wanted) {
  return { scenario, measure, of, found, verdict: wanted === undefined ? '' : wanted ? 'reached' : 'missed' }
}
