'use strict'

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const lockFactory = require('..')
const { kill } = require('./support/child')
const { makeApp, root } = require('./support/documents')
const { send } = require('./support/kill-at-exit')
const { startProgram, startServer } = require('./support/programs')
const { startRedis } = require('./support/redis-server')
const { until } = require('./support/until')

// The programs of docs/recipes.md, as their users start them.

const CLEAN = { code: 0, signal: null, stderr: '' }
let server
let env
let locker

beforeAll(async () => {
  server = await startRedis()
  env = { REDIS_URL: `redis://127.0.0.1:${server.port}` }
})

beforeEach(() => {
  locker = lockFactory({
    driver: 'redis',
    config: { url: env.REDIS_URL },
    settings: { prefix: 'example:' },
  })
})

afterEach(async () => {
  await locker.close()
  await server.call('FLUSHALL')
})

afterAll(() => server.stop())

const waiters = async (name) => (await locker.inspect(name))?.waiters.length ?? 0

describe('a cron job', () => {
  it('runs once at each tick, in one of four processes', async () => {
    const processes = Array.from({ length: 4 }, () => startProgram('cron-once.js', { ...env, EVERY: '250' }))
    const told = () => processes.flatMap(({ lines }) => lines)
    const ticksOf = (how) =>
      told().flatMap((line) => line.match(new RegExp(`report (\\d+): made ${how}$`))?.[1] ?? [])
    // Four ticks for which more than one process has come.
    const contended = () => new Set(ticksOf('by another process')).size
    await until(() => contended() >= 4, 'processes come for the same ticks')
    for (const { child } of processes) kill(child)
    await Promise.all(processes.map(({ ended }) => ended))

    const made = ticksOf('here')
    expect(made.length).toBe(new Set(made).size)
    expect(told().filter((line) => /^making a report/.test(line)).length).toBeGreaterThanOrEqual(made.length)
  })
})

describe('leaders', () => {
  /** So many processes, which stand in the queue in this order. */
  async function candidates(count) {
    const processes = []
    for (let number = 0; number < count; number++) {
      processes.push(startProgram('leader.js', env))
      await until(async () => {
        const { holders = [], waiters = [] } = (await locker.inspect('leader')) ?? {}
        return holders.length + waiters.length === processes.length
      }, 'the process leads or waits')
    }
    return processes
  }
  const token = async ({ line }) => Number((await line(/ leads, token /)).match(/\d+$/)[0])

  it('hand over to whoever has waited for longest, when they are told to stop', async () => {
    const [first, second, third] = await candidates(3)
    const tokens = [await token(first)]
    send(first.child, 'SIGTERM')
    expect(await first.ended).toEqual(CLEAN)
    expect(first.lines.at(-1)).toMatch(/steps down$/)
    tokens.push(await token(second))
    expect(third.lines).toEqual([])

    // One that waits goes, and another one that leads.
    send(third.child, 'SIGTERM')
    expect(await third.ended).toEqual(CLEAN)
    expect(third.lines).toEqual([])
    send(second.child, 'SIGTERM')
    expect(await second.ended).toEqual(CLEAN)
    expect(await locker.isLocked('leader')).toBe(false)
    expect(tokens[1]).toBeGreaterThan(tokens[0])
  })

  it('that die are followed when their lease has ended', async () => {
    const [first, second] = await candidates(2)
    const dead = await token(first)
    kill(first.child)
    await first.ended
    expect(await token(second)).toBeGreaterThan(dead)
    send(second.child, 'SIGTERM')
    expect(await second.ended).toEqual(CLEAN)
  })
})

describe('a webhook', () => {
  let servers

  beforeEach(async () => {
    servers = await Promise.all([startServer('webhook.js', env), startServer('webhook.js', env)])
  })

  const deliver = async (url, event) => {
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(event) })
    return [response.status, await response.text()]
  }
  const balance = async () => Number(await server.call('GET', 'example:balance'))
  const stop = async () => {
    for (const { child } of servers) send(child, 'SIGTERM')
    for (const { ended } of servers) expect(await ended).toEqual(CLEAN)
  }

  it('handles an event once that is delivered ten times, to two processes', async () => {
    const deliveries = Array.from({ length: 10 }, (_, index) =>
      deliver(servers[index % 2].url, { id: 'evt_1', amount: 5 }),
    )
    const answers = await Promise.all(deliveries)
    expect(answers.filter(([, text]) => text === 'handled\n')).toHaveLength(1)
    expect(answers.filter(([, text]) => text === 'was handled before\n')).toHaveLength(9)
    expect(answers.every(([status]) => status === 200)).toBe(true)
    expect(await balance()).toBe(5)
    await stop()
  })

  it('handles an event again that has failed', async () => {
    const [status] = await deliver(servers[0].url, { id: 'evt_2', amount: 'much' })
    expect(status).toBe(500)
    expect(await deliver(servers[1].url, { id: 'evt_2', amount: 7 })).toEqual([200, 'handled\n'])
    expect(await balance()).toBe(7)
    await stop()
  })
})

describe('a Fastify server that is told to stop', () => {
  it('finishes what holds a lock, turns away what waits, and leaves no lock behind', async () => {
    const { child, ended, url } = await startServer('fastify.js', env)
    const post = async (ms) => {
      const response = await fetch(`${url}/report?ms=${ms}`, { method: 'POST' })
      return { status: response.status, body: await response.json() }
    }
    const holding = post(2000)
    await until(() => locker.isLocked('report'), 'a request holds the lock')
    const waiting = post(0)
    await until(async () => (await waiters('report')) === 1, 'another one waits')
    send(child, 'SIGTERM')

    expect(await waiting).toEqual({ status: 503, body: { error: 'The server is shutting down' } })
    expect(await holding).toEqual({ status: 200, body: { token: expect.any(Number) } })
    expect(await ended).toEqual(CLEAN)
    expect(await locker.isLocked('report')).toBe(false)
  })
})

describe('worker threads', () => {
  it('count together, and lose no step', async () => {
    const { ended, lines } = startProgram('workers.js')
    expect(await ended).toEqual(CLEAN)
    expect(lines).toEqual(['counted to 1000 of 1000'])
  })
})

describe('a serverless function', () => {
  const script = `
    const { handler } = await import(process.env.HANDLER)
    const context = { getRemainingTimeInMillis: () => 3000 }
    const answers = await Promise.all([handler({ order: 1 }, context), handler({ order: 1 }, context)])
    console.log(JSON.stringify([...answers, await handler({ order: 2 }, context)]))
  `

  it('works on an order in one call at a time, and gives it up when the call ends', async () => {
    const app = makeApp('lock-inc')
    fs.writeFileSync(path.join(app, 'calls.mjs'), script)
    const HANDLER = pathToFileURL(path.join(root, 'examples/lambda.mjs')).href
    const { ended, lines } = startProgram(path.join(app, 'calls.mjs'), { ...env, HANDLER })
    expect(await ended).toEqual(CLEAN)
    const answers = JSON.parse(lines[0])
    expect(answers.map(({ order }) => order)).toEqual([1, 1, 2])
    expect(new Set(answers.map(({ token }) => token)).size).toBe(3)
    expect(await Promise.all(['order:1', 'order:2'].map(locker.isLocked))).toEqual([false, false])
  })
})

describe('NestJS', () => {
  let app

  beforeAll(() => {
    app = makeApp('lock-inc', '@nestjs/common', '@nestjs/core', 'reflect-metadata')
    // As it is installed: what the program imports is found from where it is.
    const tsc = require.resolve('typescript/bin/tsc')
    execFileSync(process.execPath, [tsc, '--project', path.join(root, 'examples/nestjs'), '--outDir', app])
  }, 120_000)

  it('runs a decorated method under the lock of its name, and closes the locker', async () => {
    const lock = await locker.lock('account:anna')
    const { ended, lines } = startProgram(path.join(app, 'main.js'), env)
    const stepsOf = (account) => lines.filter((line) => line.startsWith(account))
    await until(() => stepsOf('ben').length === 4, 'what has another name is done')
    await until(async () => (await waiters('account:anna')) === 3, 'three calls wait')
    expect(stepsOf('anna')).toEqual([])

    await lock.unlock()
    expect(await ended).toEqual(CLEAN)
    const once = (account) => [`${account} begins`, `${account} ends`]
    expect(stepsOf('anna')).toEqual([...once('anna'), ...once('anna'), ...once('anna')])
    expect(stepsOf('ben')).toEqual([...once('ben'), ...once('ben')])
    expect(await Promise.all(['account:anna', 'account:ben'].map(locker.isLocked))).toEqual([false, false])
  })
})
