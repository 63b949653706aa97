'use strict'

const lockFactory = require('..')
const { runNode } = require('./support/child')
const { freePort, startRedis } = require('./support/redis-server')
const { until } = require('./support/until')

// What keeps a process alive, and what does not.
describe('a process', () => {
  let server

  beforeAll(async () => {
    server = await startRedis()
  })

  afterAll(() => server.stop())

  const specs = () => [
    { driver: 'memory', settings: { prefix: 'exit:' } },
    { driver: 'redis', config: { port: server.port }, settings: { prefix: 'exit:' } },
  ]

  it('ends with a locker that was never used, also when its server does not exist', async () => {
    const nowhere = { driver: 'redis', config: { port: await freePort() }, settings: { prefix: 'exit:' } }
    for (const spec of [...specs(), nowhere]) {
      const { code, stderr } = await runNode('lockFactory(args)', spec).ended
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    }
  })

  it('ends with a locker that holds locks, and the locks stay until their leases end', async () => {
    for (const spec of specs()) {
      const script = "lockFactory(args).lock('held', { expire: 60 }).then(() => tell('held'))"
      const { code, messages, stderr } = await runNode(script, spec).ended
      expect({ code, messages, stderr }).toEqual({ code: 0, messages: ['held'], stderr: '' })
    }
    expect(await server.call('EXISTS', `exit:${lockFactory.hash('held')}`)).toBe(1)
  })

  it('waits for a call that is pending, and for no longer', async () => {
    for (const spec of specs()) {
      const script = `
        const locker = lockFactory(args)
        locker.lock('a').then((lock) => { tell('locked'); lock.unlock().then((held) => tell(held)) })
      `
      const { code, messages } = await runNode(script, spec).ended
      expect({ code, messages }).toEqual({ code: 0, messages: ['locked', true] })
    }
  })

  it('waits for a call that waits for a lock', async () => {
    for (const spec of specs()) {
      const script = `
        const locker = lockFactory(args)
        locker.lock('b', { expire: 0.2 })
          .then(() => locker.lock('b', { retry: true, retryInterval: 10, maxRetryAttempts: 1000 }))
          .then(() => tell('second'))
      `
      expect((await runNode(script, spec).ended).messages).toEqual(['second'])
    }
  })

  it('waits for a call until its deadline when the server is away, and reports it', async () => {
    const spec = {
      driver: 'redis',
      config: { port: await freePort() },
      settings: { prefix: 'x', commandTimeout: 200 },
    }
    const script = "lockFactory(args).lock('a').catch((error) => tell(error.code))"
    expect((await runNode(script, spec).ended).messages).toEqual(['ERR_CONNECTION'])
  })

  it('that is killed leaves a lock for no longer than its lease', async () => {
    const [, spec] = specs()
    const script =
      "lockFactory(args).lock('killed', { expire: 0.5 }).then(() => tell('held')); setInterval(() => {}, 1000)"
    const { child, messages, ended } = runNode(script, spec)
    await until(() => messages.includes('held'))
    child.kill('SIGKILL')
    await ended
    const hash = lockFactory.hash('killed')
    expect(await server.call('PTTL', `exit:${hash}`)).toBeLessThanOrEqual(500)
    await until(async () => (await server.call('EXISTS', `exit:${hash}`)) === 0, 'the lease ends')
  })

  it('starts a thread of ours with the first locker, and not when the module is loaded', async () => {
    const script = `
      const fs = require('node:fs')
      const names = () =>
        fs.readdirSync('/proc/self/task').map((id) => fs.readFileSync('/proc/self/task/' + id + '/comm', 'utf8').trim())
      const ours = () => names().filter((name) => name === 'lock-inc').length
    `
    expect((await runNode(`${script} tell(ours())`).ended).messages).toEqual([0])
    // A thread gets its name a little after it was started.
    const two = 'lockFactory(args); lockFactory(args); while (ours() === 0); tell(ours())'
    expect((await runNode(script + two, specs()[1]).ended).messages).toEqual([1])
  })
})
