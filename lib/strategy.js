'use strict'

const { AsyncResource } = require('node:async_hooks')

const numbers = new WeakMap()
let count = 0

/**
 * What the addon gets of a `retry_strategy`: a function that calls it in the async context of now, and a number that is the
 * same for all who have the same strategy.
 *
 * @param {NonNullable<import('./native').Redis['strategy']>} strategy
 */
function bindStrategy(strategy) {
  if (!numbers.has(strategy)) numbers.set(strategy, ++count)
  return { strategy: AsyncResource.bind(strategy, 'lock-inc'), strategyNumber: numbers.get(strategy) }
}

module.exports = { bindStrategy }
