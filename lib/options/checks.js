'use strict'

const { Buffer } = require('node:buffer')
const { isLikeUrl, must, outOfRange, shown, wrongType } = require('./argument-errors')
const { parseTime, UNITS } = require('./time')

/**
 * What each type of option takes: a function of the option and of what was given, which is not `undefined` or `null`. It
 * returns what is read, or throws.
 *
 * @satisfies {{ [type: string]: (option: Option, value: any) => unknown }}
 *
 * @typedef {import('./table').Option} Option
 */
const checks = {
  boolean: checkBoolean,
  booleanOrObject: checkBooleanOrObject,
  choice: checkChoice,
  function: checkFunction,
  host: checkHost,
  integer: checkInteger,
  keyword: checkKeyword,
  list: checkList,
  object: (option, value) => checkObject(option.path, value),
  pem: checkPem,
  refused: refuse,
  refusedUnlessEmpty: refuseUnlessEmpty,
  secret: checkSecret,
  signal: checkSignal,
  string: checkString,
  time: checkTime,
  // As Web IDL has it: anything can be taken for true or false.
  truth: (_option, value) => Boolean(value),
  // Read elsewhere, or not at all.
  unread: (_option, value) => value,
}

/** @param {Option} option @param {unknown} value @param {string} [what] */
function typeError(option, value, what = must(option)) {
  const got = option.secret ? '' : `, got ${shown(value)}`
  return wrongType(`${option.path} must be ${what}${got}`)
}

/** @param {Option} option @param {unknown} value @param {string} [what] */
function rangeError(option, value, what = must(option)) {
  return outOfRange(`${option.path} must be ${what}, got ${shown(value)}`)
}

/** @param {Option} option @param {number} number */
function isInRange({ min = 0, max = 0, whole }, number) {
  return number >= min && number <= max && (!whole || Number.isInteger(number))
}

/** @param {Option} option @param {any} value */
function checkBoolean(option, value) {
  if (typeof value === 'boolean') return value
  throw typeError(option, value, 'true or false')
}

/** @param {Option} option @param {any} value */
function checkBooleanOrObject(option, value) {
  return typeof value === 'boolean' ? value : checkObject(option.path, value)
}

/** An object that may have options. `path`: what messages call it. @param {string | undefined} path @param {any} value */
function checkObject(path, value) {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw wrongType(`${path} must be an object, got ${shown(value)}`)
}

/** An array whose elements are read elsewhere. @param {Option} option @param {any} value */
function checkList(option, value) {
  if (!Array.isArray(value)) throw typeError(option, value, 'an array')
  if (value.length === 0) throw outOfRange(`${option.path} must have at least one element`)
  return value
}

/** @param {Option} option @param {any} value */
function checkFunction(option, value) {
  if (typeof value === 'function') return value
  throw typeError(option, value, 'a function')
}

/** One of a few values. @param {Option} option @param {any} value */
function checkChoice(option, value) {
  const { values = [], required } = option
  if (values.includes(value)) return value
  if (required) throw wrongType(required.message, required.code)
  const isOfAType = values.some((other) => typeof other === typeof value)
  throw isOfAType ? rangeError(option, value) : typeError(option, value)
}

/** One of a few words, of which Web IDL wants a TypeError. @param {Option} option @param {any} value */
function checkKeyword(option, value) {
  if (option.values?.includes(value)) return value
  throw typeError(option, value)
}

/** @param {Option} option @param {any} value */
function checkString(option, value) {
  if (option.required && !value) throw wrongType(option.required.message, option.required.code)
  if (typeof value !== 'string') throw typeError(option, value, 'a string')
  if (value === '') throw typeError(option, value, 'a non-empty string')
  return value
}

/** @param {Option} option @param {any} value */
function checkHost(option, value) {
  const host = checkString(option, value)
  if (!isLikeUrl(host)) return host
  // Not quoted: there may be a password in it.
  throw outOfRange(
    `${option.path} must be a host name or an address, not a URL: for that there is config.url`,
  )
}

/** A string of which empty counts as absent. @param {Option} option @param {any} value */
function checkSecret(option, value) {
  if (typeof value === 'string') return value || undefined
  throw typeError(option, value, 'a string')
}

/** @param {Option} option @param {any} value */
function checkInteger(option, value) {
  let number = value
  if (option.digits && typeof value === 'string') number = /^\d+$/.test(value) ? Number(value) : Number.NaN
  else if (typeof value !== 'number') throw typeError(option, value)
  if (isInRange(option, number) && (Number.isInteger(number) || number === Number.POSITIVE_INFINITY))
    return number
  throw rangeError(option, value)
}

/** Reads milliseconds. @param {Option} option @param {any} value */
function checkTime(option, value) {
  const unit = option.unit === 's' ? UNITS.s : UNITS.ms
  if (typeof value === 'number') {
    if (isInRange(option, value)) {
      if (option.warn && value > option.warn.above) warn(option, value, option.warn.code)
      return value * unit
    }
    if (value === 0 && option.falsy) return Number(option.default) * unit
    throw rangeError(option, value)
  }
  if (!value && option.falsy) return Number(option.default) * unit
  if (typeof value !== 'string') throw typeError(option, value)
  const ms = parseTime(value)
  if (ms === undefined) throw notATime(option, value)
  if (isInRange(option, ms / unit)) return ms
  throw rangeError(option, value)
}

/** Says what to write instead. @param {Option} option @param {string} text */
function notATime(option, text) {
  const example = option.unit === 's' ? '30s' : '250ms'
  const hint = /^\d{1,15}(\.\d{1,15})?$/.test(text)
    ? `write ${Number(text)} or '${text}${option.unit}'`
    : `write a number and its unit, ms, s, m, h or d: '${example}'`
  return wrongType(`${option.path} must be ${must(option)}, got ${shown(text)}: ${hint}`)
}

/** @type {Set<string>} */
const warned = new Set()

/** Once for each code. @param {Option} option @param {number} value @param {string} code */
function warn(option, value, code) {
  if (warned.has(code)) return
  warned.add(code)
  process.emitWarning(
    `${option.path} is in seconds, and ${value} of them are more than a day. If milliseconds were meant, write ` +
      `'${value}ms'; if not, a string with a unit, such as '${value}s', is taken without this warning.`,
    { type: 'LockIncWarning', code },
  )
}

/** Duck-typed, as the AbortSignal of another realm is none to `instanceof`. @param {Option} option @param {any} value */
function checkSignal(option, value) {
  if (typeof value.aborted === 'boolean' && typeof value.addEventListener === 'function') return value
  throw wrongType(`${option.path} must be an AbortSignal`)
}

/** PEM, as a list of buffers. @param {Option} option @param {any} value @returns {Buffer[]} */
function checkPem(option, value) {
  return Array.isArray(value) ? value.map((one) => bytesOf(option, one)) : [bytesOf(option, value)]
}

/** @param {Option} option @param {any} value */
function bytesOf(option, value) {
  if (typeof value === 'string') return Buffer.from(value)
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  throw typeError(option, value, 'PEM text in a string or a Buffer')
}

/** @param {Option} option */
function refuse(option) {
  throw wrongType(`${option.path} is not supported: ${option.why}`)
}

/** @param {Option} option @param {any} value */
function refuseUnlessEmpty(option, value) {
  if (Object.keys(checkObject(option.path, value)).length > 0) refuse(option)
}

module.exports = { checkObject, checks, checkTime }
