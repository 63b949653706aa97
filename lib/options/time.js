'use strict'

/** Milliseconds in a unit. */
const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

const FORM = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/

/**
 * The milliseconds that a string like '1.5s' says; `undefined` if it does not say a time.
 *
 * @param {string} text
 */
function parseTime(text) {
  const found = FORM.exec(text)
  if (found === null) return undefined
  const ms = Number(found[1]) * UNITS[/** @type {keyof typeof UNITS} */ (found[2])]
  // Fifteen digits: what is written in decimals shall not end in the ...9999 of a product of binary fractions.
  return Number.isInteger(ms) ? ms : Number(ms.toPrecision(15))
}

module.exports = { parseTime, UNITS }
