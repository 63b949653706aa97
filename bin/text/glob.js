'use strict'

/**
 * Whether a whole text matches a pattern, with the signs of Redis's `KEYS`: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before
 * a sign that stands for itself. In no more steps than both of them are long, multiplied.
 *
 * @param {string} pattern
 * @returns {(text: string) => boolean}
 */
function glob(pattern) {
  const parts = partsOf(pattern)
  return (text) => matches(parts, Array.from(text))
}

/** A part takes one character, if it is not `STAR`. @typedef {(character: string) => boolean} Part */

/** Stands for any number of characters. */
const STAR = () => true

/** @type {Part} */
const ANY = () => true

/** @param {string} pattern @returns {Part[]} */
function partsOf(pattern) {
  const parts = []
  const signs =
    /\\(?<escaped>.)|(?<star>\*+)|(?<any>\?)|\[(?<not>\^?)(?<set>(?:\\.|[^\]\\])+)\]|(?<plain>.)/gsu
  for (const { groups = {} } of pattern.matchAll(signs)) {
    const { star, any, not, set } = groups
    const one = groups.escaped ?? groups.plain
    if (star) parts.push(STAR)
    else if (any) parts.push(ANY)
    else if (set) parts.push(oneOf(set, not === '^'))
    else parts.push((/** @type {string} */ character) => character === one)
  }
  return parts
}

/** @param {string} set @param {boolean} inverted @returns {Part} */
function oneOf(set, inverted) {
  const ranges = [...set.matchAll(/\\?(.)(?:-\\?(.))?/gsu)].map(([, from = '', to = from]) => [from, to])
  return (character) =>
    inverted !==
    ranges.some(
      ([from = '', to = '']) => codeOf(from) <= codeOf(character) && codeOf(character) <= codeOf(to),
    )
}

/** @param {string} character */
function codeOf(character) {
  return character.codePointAt(0) ?? 0
}

/** If it goes wrong behind a star, that takes one more. What an earlier star takes need not change then. @param {Part[]} parts @param {string[]} text */
function matches(parts, text) {
  let [at, part] = [0, 0]
  let [starAt, star] = [0, -1]
  while (at < text.length) {
    if (parts[part] === STAR) {
      ;[starAt, star] = [at, part++]
    } else if (parts[part]?.(text[at] ?? '')) {
      at++
      part++
    } else if (star >= 0) {
      at = ++starAt
      part = star + 1
    } else {
      return false
    }
  }
  return parts.slice(part).every((rest) => rest === STAR)
}

module.exports = { glob }
