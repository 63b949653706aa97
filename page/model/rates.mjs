import { SPAN } from './state.mjs'

/** The seconds that are told are gathered into bars of so many ms. */
export const BAR = 5000
const BARS = SPAN / BAR

/** How much of a kind there was in each bar of the last minutes, per second; the last one is not over yet. */
export function barsOf(rates, kind, now) {
  const last = Math.floor(now / BAR)
  const bars = Array.from({ length: BARS }, (_, index) => ({ at: (last - BARS + 1 + index) * BAR, value: 0 }))
  for (const second of rates) {
    const bar = bars[Math.floor((second.at * 1000) / BAR) - last + BARS - 1]
    if (bar) bar.value += second[kind] / (BAR / 1000)
  }
  return bars
}

/** Per second, over the last seconds that are over. */
export function recently(rates, kind, now, seconds = 10) {
  const since = Math.floor(now / 1000) - seconds
  return (
    totalOf(
      rates.filter(({ at }) => at >= since),
      kind,
    ) / seconds
  )
}

export function totalOf(rates, kind) {
  return rates.reduce((sum, second) => sum + second[kind], 0)
}

/** How many calls have waited for how long: one number for each class. */
export function waitsOf(rates, classes) {
  const waits = Array(classes).fill(0)
  for (const second of rates)
    second.waits.forEach((number, index) => {
      waits[index] += number
    })
  return waits
}

/** The class in which the wait lies that so many, as a share of all, do not exceed; -1 of none. */
export function classOfShare(waits, share) {
  const wanted = share * waits.reduce((sum, number) => sum + number, 0)
  let sum = 0
  return waits.findIndex((number) => {
    sum += number
    return number > 0 && sum >= wanted
  })
}
