'use strict'

const { spawn } = require('node:child_process')
const path = require('node:path')
const lockFactory = require('..')
const { killAtExit } = require('./support/kill-at-exit')
const { startRedis } = require('./support/redis-server')
const { until } = require('./support/until')

// The program in examples/, scraped as Prometheus does it.
describe('examples/prometheus.js', () => {
  let redis
  let child
  let url
  let locker

  beforeAll(async () => {
    redis = await startRedis()
    const env = { ...process.env, PORT: '0', REDIS_URL: `redis://127.0.0.1:${redis.port}` }
    const program = path.join(__dirname, '../examples/prometheus.js')
    child = killAtExit(spawn(process.execPath, [program], { env, stdio: ['ignore', 'pipe', 'inherit'] }))
    let output = ''
    child.stdout.on('data', (data) => {
      output += data
    })
    url = await until(() => output.match(/http:\/\/localhost:\d+/)?.[0], 'it listens')
    locker = lockFactory({
      driver: 'redis',
      config: { port: redis.port },
      settings: { prefix: 'example:' },
    })
  })

  afterAll(async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    expect(await ended).toBe(0)
    await locker.close()
    await redis.stop()
  })

  /** The values of all series, by their names. */
  async function scrape() {
    const text = await (await fetch(`${url}/metrics`)).text()
    const lines = text.split('\n').filter((line) => line && !line.startsWith('#'))
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]),
    )
  }

  it('counts what is held, waited for, granted and lost', async () => {
    const before = await scrape()
    expect(before).toMatchObject({ lock_held: 0, lock_waiting: 0 })
    const lock = await locker.lock('/work')
    const working = [fetch(`${url}/work`), fetch(`${url}/work`)]
    await until(async () => (await scrape()).lock_waiting === 2, 'both wait')
    await lock.unlock()
    await until(async () => (await scrape()).lock_held === 1, 'one of them works')
    expect((await Promise.all(working)).map(({ status }) => status)).toEqual([200, 200])
    const after = await until(async () => {
      const found = await scrape()
      return found['lock_hold_seconds_count{outcome="released"}'] === 2 && found
    }, 'both have unlocked')
    expect(after).toMatchObject({
      lock_held: 0,
      lock_waiting: 0,
      'lock_acquire_seconds_count{outcome="granted"}': 2,
    })
    const other = fetch(`${url}/other`)
    await until(async () => (await scrape()).lock_held === 1, 'it works')
    await locker.forceUnlock('/other')
    await until(async () => (await scrape())['lock_lost_total{reason="purged"}'] === 1, 'it is lost')
    await other
  })
})
