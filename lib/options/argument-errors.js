'use strict'

const { nearest } = require('./nearest')

/** @param {string} message */
function wrongType(message, code = 'ERR_INVALID_ARG_TYPE') {
  return Object.assign(new TypeError(message), { code })
}

/** @param {string} message */
function outOfRange(message) {
  return Object.assign(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' })
}

/**
 * A value as a message shows it: short, on one line, and never what may be a URL, as that may hold a password.
 *
 * @param {unknown} value
 */
function shown(value) {
  switch (typeof value) {
    case 'string':
      return quoted(value)
    case 'function':
      return 'a function'
    case 'symbol':
      return 'a symbol'
    case 'object':
      if (value === null) return 'null'
      return Array.isArray(value) ? 'an array' : 'an object'
    default:
      return String(value)
  }
}

/** @param {string} text */
function quoted(text) {
  if (isLikeUrl(text)) return 'what may be a URL'
  const short = text.slice(0, 40)
  return `${JSON.stringify(short)}${short.length < text.length ? '…' : ''}`
}

/** @param {string} text */
function isLikeUrl(text) {
  return text.includes('://') || text.includes('@')
}

/**
 * What an option must be, in words.
 *
 * @param {import('./table').Option} option
 */
function must(option) {
  if (option.must) return option.must
  if (option.values) return listed(option.values.map(literal), ' or ')
  const { min = 0, max = 0 } = option
  const range = max === Number.POSITIVE_INFINITY ? 'on, or Infinity' : `to ${inFigures(max)}`
  if (option.noun) return `${option.noun} from ${min} ${range}`
  const unit = option.unit ? { s: ' of seconds', ms: ' of milliseconds' }[option.unit] : ''
  const whole = option.whole || option.type === 'integer' ? 'whole ' : ''
  return `a ${whole}number${unit} from ${min} ${range}`
}

/** @param {readonly string[]} words @param {string} last */
function listed(words, last) {
  return words.length === 1 ? words[0] : words.slice(0, -1).join(', ') + last + words.at(-1)
}

/** @param {unknown} value */
function literal(value) {
  return typeof value === 'string' ? `'${value}'` : String(value)
}

/** @param {number} number */
function inFigures(number) {
  return number % 1e6 === 0 ? number.toExponential().replace('+', '') : String(number)
}

/**
 * The error for an option that does not exist, with the nearest one that does.
 *
 * @param {import('./table').Group} group
 * @param {string} name
 */
function unknownOption(group, name) {
  const names = group.options.map((option) => option.name)
  const near = nearest(name, names)
  const hint = near === undefined ? `known ones are ${names.join(', ')}` : `did you mean "${near}"?`
  return wrongType(`${group.path} has no option ${quoted(name)}; ${hint}`, 'ERR_UNKNOWN_OPTION')
}

module.exports = { isLikeUrl, must, outOfRange, shown, unknownOption, wrongType }
