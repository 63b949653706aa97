'use strict'

const graphemes = new Intl.Segmenter()

/** East Asian wide and full width, and what is drawn as an emoji. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u4dbf\u4e00-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}|\ufe0f/u

/** What has no place of its own. */
const NARROW = /^[\p{Mn}\p{Me}\p{Cf}]+$/u

const ASCII = /^[\x20-\x7e]*$/

/** How many columns of a terminal a text takes. @param {string} text Without control characters. */
function widthOf(text) {
  if (ASCII.test(text)) return text.length
  let width = 0
  for (const { segment } of graphemes.segment(text)) width += widthOfOne(segment)
  return width
}

/** @param {string} grapheme */
function widthOfOne(grapheme) {
  if (NARROW.test(grapheme)) return 0
  return WIDE.test(grapheme) || grapheme.includes('\ufe0f') ? 2 : 1
}

/** As much of a text as has room, with a mark where something is missing. @param {string} text @param {number} width */
function cut(text, width) {
  if (widthOf(text) <= width) return text
  let [taken, used] = ['', 0]
  for (const { segment } of graphemes.segment(text)) {
    used += widthOfOne(segment)
    if (used > width - 1) break
    taken += segment
  }
  return `${taken}…`
}

/** @param {string} text @param {number} width @param {boolean} [right] */
function pad(text, width, right) {
  const gap = ' '.repeat(Math.max(0, width - widthOf(text)))
  return right ? gap + text : text + gap
}

module.exports = { cut, pad, widthOf }
