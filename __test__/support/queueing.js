'use strict'

const { until } = require('./until')

/** What the tests of calls that wait on Redis have in common, over a scene with a proxy. */
function queueing(scene) {
  const { newLocker, waiting } = scene
  const timeout = Number.POSITIVE_INFINITY
  /** A locker that connects past the proxy. */
  const direct = () => newLocker({ port: scene.server.port })

  /** Calls of several lockers, one behind the other, that unlock when they have had their turn. */
  async function queue(count, lockers, order = [], options = {}) {
    const calls = []
    for (let index = 0; index < count; index++) {
      const call = lockers[index % lockers.length].lock('resource', { timeout, ...options })
      calls.push(
        call.then(async (lock) => {
          order.push(index)
          expect(await lock.unlock()).toBe(true)
        }),
      )
      await waiting('resource', index + 1)
    }
    return calls
  }
  /** Waits until all who wait can be told of their turn. */
  const listening = () =>
    until(async () => {
      const { waiters } = await direct().inspect('resource')
      const channels = [...new Set(waiters.map(({ clientId }) => `${scene.prefix}client:${clientId}`))]
      const numbers = await scene.server.call('PUBSUB', 'NUMSUB', ...channels)
      return numbers.every((number, index) => index % 2 === 0 || number === 1)
    }, 'all have a connection')
  const inOrder = (count) => Array.from({ length: count }, (_, index) => index)

  return { direct, queue, listening, inOrder, timeout }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

module.exports = { queueing, sleep }
