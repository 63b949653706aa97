'use strict'

const { execFileSync, spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { runNode } = require('./support/child')
const { startRedis } = require('./support/redis-server')

const root = path.join(__dirname, '..')
const read = (file) => fs.readFileSync(path.join(root, file), 'utf8')
const text = read('docs/observability.md')
const blocks = Array.from(text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm), ([, language, code]) => ({
  language,
  code,
}))
const [channels, otel] = blocks.filter(({ language }) => language === 'js').map(({ code }) => code)
const lines = blocks
  .find(({ language }) => language === '')
  .code.trim()
  .split('\n')

/** The names in the first cells of the tables. */
const namesOf = (pattern) => Array.from(text.matchAll(pattern), ([, name]) => name).sort()

describe('docs/observability.md', () => {
  it('has all channels', () => {
    const declarations = read('index.d.ts')
    const declared = Array.from(declarations.matchAll(/^ {4}'(lock-inc:[\w-]+)': \w+$/gm), ([, name]) => name)
    expect(declared).toHaveLength(12)
    expect(namesOf(/^\| `(lock-inc:[\w-]+)` \|/gm)).toEqual(declared.sort())
  })

  it('has all metrics', () => {
    const { measure } = require('../otel/metrics')
    const made = []
    const make = (name) => made.push(name)
    measure({ createHistogram: make, createCounter: make, createUpDownCounter: make })
    expect(namesOf(/^\| `(lock_inc\.[\w.]+)` \|/gm)).toEqual(made.sort())
  })

  it('has code for the channels that tells of a loss', () => {
    const script = `
      const locker = require('lock-inc')({ driver: 'memory', settings: { prefix: 'docs:' } })
      ${channels}
      const run = async () => {
        const lock = await locker.lock('report', { expire: 30 })
        await locker.forceUnlock('report')
        await lock.unlock()
        await locker.close()
      }
      run()
    `
    const { stderr } = spawnSync(process.execPath, ['-e', script], { cwd: root, encoding: 'utf8' })
    expect(stderr).toMatch(/^lost report after \d+ ms: purged\n$/)
  })

  it('has code for OpenTelemetry that works where nothing else is set up', () => {
    const script = `
      ${otel}
      const locker = require('lock-inc')({ driver: 'memory', settings: { prefix: 'docs:' } })
      locker.request('report', (lock) => console.log(lock.name)).then(stop).then(locker.close)
    `
    const output = execFileSync(process.execPath, ['-e', script], { cwd: root, encoding: 'utf8' })
    expect(output).toBe('report\n')
  })

  it('has the lines that a process writes', async () => {
    const server = await startRedis()
    const script = `
      const { channel } = require('node:diagnostics_channel')
      const told = (name) => new Promise((resolve) => channel('lock-inc:' + name).subscribe(resolve))
      const known = async (locker) => {
        while (!(await locker.inspect('report:daily'))?.holders[0]?.token);
      }
      // A lock that is held keeps no process alive.
      const alive = setInterval(() => {}, 1000)
      const run = async () => {
        const locker = lockFactory(args)
        const first = await locker.lock('report:daily', { expire: 30 })
        await known(locker)
        await locker.lock('report:daily').catch(() => {})
        const waits = told('wait')
        const waiting = locker.lock('report:daily', { timeout: '5s', renew: true, expire: 1 })
        await waits
        await first.unlock()
        const second = await waiting
        await told('renew')
        const lost = told('lost')
        await locker.forceUnlock('report:daily')
        await lost
        await second.unlock()
        await locker.close()
        clearInterval(alive)
      }
      run()
    `
    const spec = { driver: 'redis', config: { port: server.port }, settings: { prefix: 'app:' } }
    const env = { ...process.env, NODE_DEBUG: 'lock-inc' }
    const { stderr } = await runNode(script, spec, { env }).ended
    await server.stop()
    const alike = (line) =>
      line
        .replace(/^LOCK-INC \d+/, '')
        .replace(/ since [\dT:.Z-]+/, '')
        .replace(/token \d+/, 'token')
        .replace(/process \d+ on \S+/, 'process')
        .replace(/[\d.]+ m?s\b/g, 'time')
    // Who hears first of a hand-over, the holder or the waiter, is open; and a slow machine may renew more than once.
    const ofAll = (found) => [...new Set(found.map(alike))].sort()
    expect(ofAll(stderr.trim().split('\n'))).toEqual(ofAll(lines))
  })
})
