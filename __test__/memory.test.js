'use strict'

const lockFactory = require('..')
const { behaviour } = require('./support/behaviour')
const { runNode } = require('./support/child')
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

  it('is renewed no longer than maxBlocked for a thread that blocks after the first call it ever made', async () => {
    const script = `
      lockFactory(args).lock('resource', { expire: 0.3, renew: true, maxBlocked: 0.3 }).then((lock) => {
        for (const end = Date.now() + 1500; Date.now() < end; );
        tell(lock.held)
      })
    `
    const { messages } = await runNode(script, { driver: 'memory', settings: { prefix: 'm:' } }).ended
    expect(messages).toEqual([false])
  })
})
