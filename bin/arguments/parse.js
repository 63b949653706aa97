'use strict'

const { parseArgs } = require('node:util')
const { shown } = require('../../lib/options/argument-errors')
const { nearest } = require('../../lib/options/nearest')
const { UsageError } = require('../usage-error')

/**
 * What a command is given.
 *
 * @typedef {object} Given
 * @property {{ [name: string]: any }} options A string, or `true`.
 * @property {string[]} positionals One for each of `command.positionals`, those that are left out aside.
 * @property {string[]} rest What comes after `--`, for a command that takes that.
 */

/**
 * Reads the arguments of a command, and refuses those that it does not take. Not by the strict mode of `parseArgs`, which knows
 * no nearest name.
 *
 * @param {{ [name: string]: import('../commands').Option }} options
 * @param {import('../commands').Command} command
 * @param {string[]} args
 * @returns {Given}
 */
function parse(options, command, args) {
  const types = Object.fromEntries(
    Object.entries(options).map(([name, { type, short }]) => [name, short ? { type, short } : { type }]),
  )
  const { tokens } = parseArgs({ args, options: types, strict: false, tokens: true })
  /** @type {Given['options']} */
  const given = {}
  const words = []
  let terminated = false
  for (const token of tokens) {
    if (token.kind === 'option') given[token.name] = valueIn(options, token)
    else if (token.kind === 'positional') words.push(token.value)
    else terminated = true
  }
  if (given.help) return { options: given, positionals: [], rest: [] }
  return { options: given, ...placed(command, words, terminated) }
}

/** @param {{ [name: string]: import('../commands').Option }} options @param {any} token */
function valueIn(options, { name, rawName, value, inlineValue }) {
  const option = Object.hasOwn(options, name) ? options[name] : undefined
  if (!option) throw new UsageError(`there is no option ${rawName}${hint(options, name)}`)
  if (option.type === 'boolean') {
    if (value !== undefined) throw new UsageError(`${rawName} takes no value`)
    return true
  }
  if (value === undefined || value === '') throw new UsageError(`${rawName} needs a value: ${option.value}`)
  // Most likely the value was forgotten.
  if (!inlineValue && /^-./.test(value)) {
    throw new UsageError(`${rawName} needs a value: ${option.value}. One that begins with - goes behind =`)
  }
  return value
}

/** @param {object} options @param {string} name */
function hint(options, name) {
  const near = nearest(name, Object.keys(options))
  return near ? `; did you mean --${near}?` : ''
}

/**
 * @param {import('../commands').Command} command
 * @param {string[]} words
 * @param {boolean} terminated Whether there was a `--`.
 */
function placed({ positionals = [], rest }, words, terminated) {
  const missing = positionals.find((name, index) => !name.startsWith('[') && words.length <= index)
  if (missing) throw new UsageError(`${missing} is missing`)
  const own = words.slice(0, positionals.length)
  const others = words.slice(positionals.length)
  if (own.includes('')) throw new UsageError(`${positionals[own.indexOf('')]} is empty`)
  if (!rest) {
    if (others.length > 0) throw new UsageError(`there is one argument too many: ${shown(others[0])}`)
    return { positionals: own, rest: [] }
  }
  // Without the --, options of the one command would be taken for those of the other.
  if (!terminated) throw new UsageError(`${rest} is missing: it comes after --`)
  if (others.length === 0) throw new UsageError(`${rest} is missing after --`)
  return { positionals: own, rest: others }
}

module.exports = { parse }
