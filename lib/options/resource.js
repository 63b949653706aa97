'use strict'

const { outOfRange, shown, wrongType } = require('./argument-errors')

/**
 * Refuses what is not the name of a resource. The texts begin as those of lock-inc 1.2.0.
 *
 * @param {unknown} value
 */
function checkResource(value) {
  if (typeof value === 'string' && value !== '') return
  throw wrongType(`${problemOf(value)}: resourceId must be a non-empty string, got ${shown(value)}`)
}

/** So many resources at the most are taken together. */
const MOST = 1000

/**
 * Refuses what is neither the name of a resource nor an array of some.
 *
 * @param {unknown} value
 */
function checkResources(value) {
  if (!Array.isArray(value)) return checkResource(value)
  if (value.length === 0) throw wrongType('resourceIds must name a resource, got an empty array')
  if (value.length > MOST)
    throw outOfRange(`resourceIds must be ${MOST} names at the most, got ${value.length}`)
  for (const name of value) checkResource(name)
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

module.exports = { checkHashInput, checkResource, checkResources }
