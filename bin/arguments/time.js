'use strict'

const { parseTime } = require('../../lib/options/time')
const { UsageError } = require('../usage-error')

/**
 * A time in milliseconds. A plain number is in seconds, whatever the option.
 *
 * @param {string} option
 * @param {string} text
 * @param {{ min: number, max: number }} range In milliseconds.
 */
function timeOf(option, text, { min, max }) {
  const ms = parseTime(/^\d+(\.\d+)?$/.test(text) ? `${text}s` : text)
  if (ms !== undefined && ms >= min && ms <= max) return ms
  const range = max === Number.POSITIVE_INFINITY ? `${min / 1000} on` : `${min / 1000} to ${max / 1000}`
  throw new UsageError(`--${option} must be seconds from ${range}, or a time like 250ms, 30s, 5m or 1h`)
}

module.exports = { timeOf }
