'use strict'

const { AsyncResource } = require('node:async_hooks')

const numbers = new WeakMap()
let count = 0

/**
 * Makes of a `retry_strategy` a function that calls it in the async context of now, and adds a number that is the same for
 * all who have the same one.
 *
 * @param {import('./native').Spec} spec
 */
function bindStrategy({ redis }) {
  const strategy = redis?.strategy
  if (!strategy) return
  if (!numbers.has(strategy)) numbers.set(strategy, ++count)
  redis.strategy = AsyncResource.bind(strategy, 'lock-inc')
  redis.strategyNumber = numbers.get(strategy)
}

module.exports = { bindStrategy }
