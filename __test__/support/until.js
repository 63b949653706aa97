'use strict'

/** Waits for a condition; what it answers, as soon as that is truthy. */
async function until(condition, what = condition.toString()) {
  const end = Date.now() + 15_000
  for (;;) {
    const answer = await condition()
    if (answer) return answer
    if (Date.now() > end) throw new Error(`Not within 15 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** What a promise rejects with. */
async function rejection(promise) {
  const value = await promise.then(
    (value) => ({ value }),
    (error) => ({ error }),
  )
  if ('value' in value) throw new Error(`Did not reject, but resolved to ${JSON.stringify(value.value)}`)
  return value.error
}

module.exports = { until, rejection }
