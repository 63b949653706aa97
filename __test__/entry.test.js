'use strict'

const { execFileSync } = require('node:child_process')
const path = require('node:path')
const lockFactory = require('..')
const { rejection } = require('./support/until')

describe('the module', () => {
  it('is the factory, with everything else on it', () => {
    expect(typeof lockFactory).toBe('function')
    expect(lockFactory.lockFactory).toBe(lockFactory)
    expect(lockFactory.default).toBe(lockFactory)
    expect(Object.keys(lockFactory).sort()).toEqual([
      'ClosedError',
      'ConnectionError',
      'LockError',
      'LockLostError',
      'RedisError',
      'ReplicationError',
      'ResourceLockedError',
      'default',
      'hash',
      'lockFactory',
    ])
  })

  it('can be imported, by default and by name', () => {
    const importing = path.join(__dirname, 'support/importing.mjs')
    const output = execFileSync(process.execPath, [importing], { encoding: 'utf8' })
    expect(JSON.parse(output)).toEqual([true, true, true, true, true])
  })

  it('hashes to the base64 of SHA-256', () => {
    expect(lockFactory.hash('abc')).toBe('ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=')
    const names = ['User:1602', 'ключ', '\ud800 half a pair', 'x'.repeat(10_000)]
    for (const name of names) {
      const expected = require('node:crypto').createHash('sha256').update(name).digest('base64')
      expect(lockFactory.hash(name)).toBe(expected)
    }
  })
})

describe('an error', () => {
  it('of a locked resource can be made and written as JSON as in 1.2.0', () => {
    const error = new lockFactory.ResourceLockedError('User:1602', 3)
    expect(error).toBeInstanceOf(Error)
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({
      name: 'ResourceLockedError',
      message: 'Resource locked',
      details: { resourceId: 'User:1602', numberOfLocks: 3 },
    })
    expect(String(error)).toBe('ResourceLockedError: Resource locked')
  })

  it('shows in its stack who was waiting', async () => {
    const locker = lockFactory({ driver: 'memory', settings: { prefix: 'stack:' } })
    await locker.lock('resource')
    async function theCallerThatWaits() {
      return await locker.lock('resource')
    }
    expect((await rejection(theCallerThatWaits())).stack).toContain('theCallerThatWaits')
    await locker.close()
  })
})
