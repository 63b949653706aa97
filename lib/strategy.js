'use strict'

const { Context } = require('./context')
const { newNumber } = require('./native')

const numbers = new WeakMap()

/**
 * Makes of a `retry_strategy` a function that calls it in the async context of now, and adds a number that is the same for
 * all who have the same one.
 *
 * @param {import('./native').Spec} spec
 */
function bindStrategy({ redis }) {
  const strategy = redis?.strategy
  if (!strategy) return
  if (!numbers.has(strategy)) numbers.set(strategy, newNumber())
  redis.strategy = new Context().bind(strategy)
  redis.strategyNumber = numbers.get(strategy)
}

module.exports = { bindStrategy }
