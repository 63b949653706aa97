'use strict'

const lockFactory = require('..')
const { behaviour } = require('./support/behaviour')
const { holding } = require('./support/holding')
const { requesting } = require('./support/requesting')
const { waiting } = require('./support/waiting')

describe('a locker in memory', () => {
  const specOf = (prefix) => ({ driver: 'memory', settings: { prefix } })
  behaviour(specOf)
  holding(specOf)
  requesting(specOf)
  waiting(specOf)

  it('takes the config of another driver without effect, so that the driver can be switched', async () => {
    const locker = lockFactory({ driver: 'memory', config: { host: 'nowhere' }, settings: { prefix: 'm:' } })
    expect(await (await locker.lock('resource')).unlock()).toBe(true)
    await locker.close()
  })
})
