'use strict'

const { holding } = require('./support/holding')
const { startRedis } = require('./support/redis-server')
const { waiting } = require('./support/waiting')

// A semaphore of one is a mutex: whatever holds for an exclusive lock holds for it.
const options = { mode: 'shared', limit: 1 }

describe('a semaphore of one in memory', () => {
  const specOf = (prefix) => ({ driver: 'memory', settings: { prefix } })
  holding(specOf, options)
  waiting(specOf, options)
})

describe('a semaphore of one in Redis', () => {
  let server

  beforeAll(async () => {
    server = await startRedis()
  })

  afterAll(() => server.stop())

  const specOf = (prefix) => ({ driver: 'redis', config: { port: server.port }, settings: { prefix } })
  holding(specOf, options)
  waiting(specOf, options)
})
