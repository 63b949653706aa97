'use strict'

const lockFactory = require('lock-inc')

/** `prefix`: locks of lockers with the same one exclude each other. */
module.exports = (prefix = 'app:') =>
  lockFactory({
    driver: process.env.REDIS_URL ? 'redis' : 'memory',
    config: { url: process.env.REDIS_URL },
    settings: { prefix },
  })
