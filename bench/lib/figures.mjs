/** Of numbers in ascending order: the nearest rank, which is always one that was measured. */
export function quantile(sorted, q) {
  if (sorted.length === 0) return NaN
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))]
}

export const sorted = (numbers) => Float64Array.from(numbers).sort()

export function median(numbers) {
  const ordered = sorted(numbers)
  const middle = ordered.length >> 1
  return ordered.length % 2 ? ordered[middle] : (ordered[middle - 1] + ordered[middle]) / 2
}

/** What is told of the rounds of one figure. */
export function spread(numbers) {
  return { median: median(numbers), min: Math.min(...numbers), max: Math.max(...numbers) }
}

/** Ratios of the rounds that both have, each within its round, as rounds differ in what else the machine did. */
export function ratios(numerators, denominators) {
  return numerators.slice(0, denominators.length).map((value, round) => value / denominators[round])
}

const CURVE = [
  0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1,
]

/** A distribution in a few points: what a plot needs of it. */
export function curve(numbers) {
  const ordered = sorted(numbers)
  return CURVE.map((q) => [q, quantile(ordered, q)])
}

/**
 * The quantile of the time that was waited, instead of the number of waits: where one process takes a lock over and
 * over, its thousands of short waits do not hide those of the others here.
 */
export function quantileOfTime(ascending, q) {
  const limit = ascending.reduce((sum, wait) => sum + wait, 0) * q
  let sum = 0
  for (const wait of ascending) {
    sum += wait
    if (sum >= limit) return wait
  }
  return ascending.at(-1)
}

/** Three digits that count. */
export function short(number) {
  if (!Number.isFinite(number)) return number === Infinity ? 'infinite' : '-'
  const size = Math.abs(number)
  if (size >= 1e6) return `${short(number / 1e6)} M`
  if (size >= 100) return Math.round(number).toLocaleString('en-US')
  return String(Number(number.toPrecision(3)))
}
