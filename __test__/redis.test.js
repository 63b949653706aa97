'use strict'

const { behaviour } = require('./support/behaviour')
const { holding } = require('./support/holding')
const { requesting } = require('./support/requesting')
const { waiting } = require('./support/waiting')
const { SERVERS, serverVersion, startRedis } = require('./support/redis-server')

// The machine's own server, and an older, a newer and a related one.
describe.each(SERVERS)('a locker on %s', (name) => {
  let server

  beforeAll(async () => {
    server = await startRedis({ name })
  })

  afterAll(() => server.stop())

  it('runs against the version that it says', () => {
    const version = name.split('-')[1]
    if (version) expect(serverVersion(name)).toContain(`v=${version}`)
    else expect(serverVersion(name)).toMatch(/v=[6-9]/)
  })

  const specOf = (prefix) => ({ driver: 'redis', config: { port: server.port }, settings: { prefix } })
  behaviour(specOf)
  holding(specOf)
  requesting(specOf)
  waiting(specOf)
})
