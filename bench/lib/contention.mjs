import { quantile, quantileOfTime, sorted } from './figures.mjs'

/**
 * `waiters` over all these processes want one name for `ms`; what happened is told of all of them together.
 * `lead`: how long they have before it counts.
 */
export async function contendTogether(children, { name, waiters, ms, critical = 0, lead = 200, patience }) {
  const share = children.map((_, index) => Math.floor((waiters + index) / children.length))
  const start = Number(process.hrtime.bigint()) + lead * 1e6
  const end = start + ms * 1e6
  const deadline = lead + ms + patience
  const results = await Promise.all(
    children.map((child, index) =>
      child.call('contend', { name, waiters: share[index], start, end, critical }, { deadline }),
    ),
  )
  const waits = sorted(results.flatMap((result) => Array.from(result.waits)))
  const served = results.map(({ granted }) => granted)
  const granted = served.reduce((sum, count) => sum + count, 0)
  if (granted === 0) throw new Error(`nothing was granted within ${ms / 1000} s`)
  const cycle = ms / granted
  const worked = results.reduce((sum, { worked }) => sum + worked, 0)
  return {
    // All there were, also before the start and after the end.
    total: results.reduce((sum, { total }) => sum + total, 0),
    rate: (granted / ms) * 1000,
    // Between the call of unlock and the next lock, whoever gets it.
    gap: (ms - worked) / granted,
    p50: quantile(waits, 0.5),
    p99: quantile(waits, 0.99),
    p99OfTime: quantileOfTime(waits, 0.99),
    max: waits.at(-1),
    // Who comes first is served first: each waits for one turn of each of the others.
    ideal: waiters * cycle,
    most: Math.max(...served),
    least: Math.min(...served),
    waits,
  }
}
