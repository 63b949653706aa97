'use strict'

const { startRedis } = require('./redis-server')

/**
 * What a suite over both drivers needs: a server for the file, and for `describe.each` the drivers, each with what makes the
 * spec of a locker, given its prefix.
 */
function bothDrivers() {
  const both = {
    server: undefined,
    drivers: [
      ['memory', (prefix) => ({ driver: 'memory', settings: { prefix } })],
      [
        'redis',
        (prefix) => ({
          driver: 'redis',
          config: { port: both.server.port, retry_max_delay: 50 },
          settings: { prefix },
        }),
      ],
    ],
  }

  beforeAll(async () => {
    both.server = await startRedis()
  })

  afterAll(() => both.server.stop())

  return both
}

module.exports = { bothDrivers }
