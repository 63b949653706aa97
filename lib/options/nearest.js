'use strict'

/**
 * The name that was probably meant: at most two letters in five are wrong, or the rest was left out.
 *
 * @param {string} name
 * @param {readonly string[]} names
 * @returns {string | undefined}
 */
function nearest(name, names) {
  const written = plain(name)
  const judged = names.map((other) => ({ other, off: shareOff(written, plain(other)) }))
  const [best] = judged.filter(({ off }) => off <= 0.4).sort((a, b) => a.off - b.off)
  return best?.other
}

/**
 * Without what separates words, as a name may be in snake_case or camelCase. All names are shorter than 64.
 *
 * @param {string} name
 */
function plain(name) {
  return name.slice(0, 64).toLowerCase().replaceAll('_', '')
}

/**
 * How much of a name is wrong: 0 for nothing, 1 for all of it.
 *
 * @param {string} written
 * @param {string} meant
 */
function shareOff(written, meant) {
  if (written.length >= 3 && meant.startsWith(written)) return 0.2
  return distance(written, meant) / Math.max(written.length, meant.length)
}

/**
 * How many letters must be put in, left out, replaced, or swapped with their neighbours (optimal string alignment).
 *
 * @param {string} from
 * @param {string} to
 */
function distance(from, to) {
  let before = Array.from({ length: to.length + 1 }, () => 0)
  let last = before.map((_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const next = [row]
    for (let column = 1; column <= to.length; column++) {
      const at = (/** @type {number[]} */ line, /** @type {number} */ left) => line[column - left] ?? 0
      const isSame = from[row - 1] === to[column - 1]
      const isSwapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      const ways = [at(last, 0) + 1, at(next, 1) + 1, at(last, 1) + (isSame ? 0 : 1)]
      next.push(Math.min(...ways, isSwapped ? at(before, 2) + 1 : Number.POSITIVE_INFINITY))
    }
    before = last
    last = next
  }
  return last.at(-1) ?? 0
}

module.exports = { nearest }
