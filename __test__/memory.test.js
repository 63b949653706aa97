'use strict'

const lockFactory = require('..')
const { behaviour } = require('./support/behaviour')

describe('a locker in memory', () => {
  behaviour((prefix) => ({ driver: 'memory', settings: { prefix } }))

  it('takes the config of another driver without effect, so that the driver can be switched', async () => {
    const locker = lockFactory({ driver: 'memory', config: { host: 'nowhere' }, settings: { prefix: 'm:' } })
    expect(await (await locker.lock('resource')).unlock()).toBe(true)
    await locker.close()
  })
})
