'use strict'

const { querying } = require('./support/querying')
const { SERVERS, startRedis } = require('./support/redis-server')
const { several } = require('./support/several')
const { sharing } = require('./support/sharing')

/** Shared locks, semaphores, stealing, several resources at once, and who holds and waits for what. */
function modes(specOf) {
  querying(specOf)
  several(specOf)
  sharing(specOf)
}

describe('a locker in memory', () => {
  modes((prefix) => ({ driver: 'memory', settings: { prefix } }))
})

describe.each(SERVERS)('a locker on %s', (name) => {
  let server

  beforeAll(async () => {
    server = await startRedis({ name })
  })

  afterAll(() => server.stop())

  modes((prefix) => ({ driver: 'redis', config: { port: server.port }, settings: { prefix } }))
})
