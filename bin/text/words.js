'use strict'

/**
 * Text of somebody else's, on one line: names may be anything, and what reaches the terminal must not be able to move its
 * cursor, or to turn the direction of the line.
 *
 * @param {string} text
 */
function plain(text) {
  return text.replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
}

/** Control characters, line separators, marks of direction, and halves of pairs. */
const UNPRINTABLE = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\p{Cs}]/gu

/** @param {string} text */
function quoted(text) {
  return `"${plain(text)}"`
}

/** A span of time in two figures at the most, as in `3m12s`. @param {number} ms */
function span(ms) {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`
  const [minute, hour, day] = [60, 3600, 86_400]
  const whole = Math.round(seconds)
  if (whole < minute) return `${whole}s`
  if (whole < hour) return `${Math.floor(whole / minute)}m${two(whole % minute)}s`
  if (whole < day) return `${Math.floor(whole / hour)}h${two(Math.floor((whole % hour) / minute))}m`
  return `${Math.floor(whole / day)}d${two(Math.floor((whole % day) / hour))}h`
}

/** @param {number} number */
function two(number) {
  return String(number).padStart(2, '0')
}

/** Who holds a lock. @param {{ host: string | null, pid: number | null } | null} holder */
function party(holder) {
  if (holder === null || holder.host === null) return 'a process with lock-inc 1.2.0'
  return `${plain(holder.host)}, process ${holder.pid}`
}

module.exports = { party, plain, quoted, span }
