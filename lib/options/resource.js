'use strict'

const { shown, wrongType } = require('./argument-errors')

/**
 * Refuses what is not the name of a resource. The texts begin as those of lock-inc 1.2.0.
 *
 * @param {unknown} value
 */
function checkResource(value) {
  if (typeof value === 'string' && value !== '') return
  throw wrongType(`${problemOf(value)}: resourceId must be a non-empty string, got ${shown(value)}`)
}

/**
 * Refuses what `hash` does not take, with the texts of lock-inc 1.2.0.
 *
 * @param {unknown} value
 */
function checkHashInput(value) {
  if (typeof value !== 'string' || value === '') throw wrongType(problemOf(value))
}

/** @param {unknown} value */
function problemOf(value) {
  return value ? 'Can not hash value which is not a string' : 'Could not hash falsy value'
}

module.exports = { checkHashInput, checkResource }
