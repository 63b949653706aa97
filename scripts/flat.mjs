// Fails if memory, files, threads or connections grow with the lockers, workers and connections that come and go:
// npm run test:flat -- [--quick] [lockers] [workers] [reconnects]
import { subscribe } from 'node:diagnostics_channel'
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'

const require = createRequire(import.meta.url)
const lockFactory = require('..')
const { startRedis } = require('../__test__/support/redis-server')
const { until } = require('../__test__/support/until')

const isQuick = process.argv.includes('--quick')
const server = await startRedis()
const redis = (prefix, config) => ({
  driver: 'redis',
  config: { port: server.port, ...config },
  settings: { prefix },
})
const memory = (prefix) => ({ driver: 'memory', settings: { prefix } })

async function use(locker) {
  const lock = await locker.lock('resource')
  const waiting = locker.lock('resource', { timeout: 10_000 })
  await lock.unlock()
  await (await waiting).unlock()
}

/** What is done again and again, so many times in all, and with `--quick`, and at once. */
const scenes = {
  lockers: {
    times: [100_000, 5000],
    atOnce: 20,
    begin: () => {
      const ownLink = (prefix) => redis(prefix, { retry_strategy: () => 10 })
      return {
        // Under a prefix that nobody has had before. One in ten is left to the garbage collector.
        async run(number) {
          const locker = lockFactory([memory, redis, ownLink][number % 3](`flat:${number}:`))
          await use(locker)
          if (number % 10 > 0) await locker.close()
        },
      }
    },
  },
  workers: {
    times: [1000, 36],
    atOnce: 2,
    begin: () => {
      const code = `
        const { parentPort, workerData } = require('node:worker_threads')
        const lockFactory = require(workerData.module)
        const main = async () => {
          for (const spec of workerData.specs) {
            const locker = lockFactory(spec)
            await (${use})(locker)
            if (workerData.closes) await locker.close()
          }
          parentPort.postMessage('done')
        }
        main()
      `
      return {
        // Every other one is terminated with its lockers open.
        async run(number) {
          const specs = [memory, redis].map((make) => make(`flat:worker:${number}:`))
          const workerData = { module: require.resolve('..'), specs, closes: number % 2 === 0 }
          const worker = new Worker(code, { eval: true, workerData })
          await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
          await worker.terminate()
        },
      }
    },
  },
  // A day with one every ten seconds, while a lock is held and a call waits for it.
  reconnects: {
    times: [8640, 300],
    atOnce: 1,
    begin: async () => {
      let count = 0
      subscribe('lock-inc:reconnect', () => {
        count++
      })
      const locker = lockFactory(redis('flat:reconnects:', { retry_strategy: () => 1 }))
      const lock = await locker.lock('resource', { renew: true })
      const waiting = locker.lock('resource', { timeout: Number.POSITIVE_INFINITY })
      return {
        async run() {
          const before = count
          for (const type of ['normal', 'pubsub']) await server.call('CLIENT', 'KILL', 'TYPE', type)
          await until(() => count > before, 'there is a connection again')
        },
        async end() {
          await lock.unlock()
          await (await waiting).unlock()
          await locker.close()
        },
      }
    },
  },
}

const MEGABYTE = 2 ** 20

/** What is counted, and by how much the number may differ without having grown. */
const counts = {
  MB: { noise: 4, read: () => process.memoryUsage.rss() / MEGABYTE },
  files: { noise: 1, read: () => readdirSync('/proc/self/fd').length },
  threads: { noise: 1, read: () => readdirSync('/proc/self/task').length },
  connections: {
    noise: 1,
    read: async () => (await server.call('CLIENT', 'LIST')).trim().split('\n').length,
  },
}

/** Counts, when what is ending has ended: each count is the lowest that is seen in a while. */
async function sample() {
  const lowest = {}
  for (let look = 0; look < 5; look++) {
    globalThis.gc()
    for (const [name, { read }] of Object.entries(counts)) {
      lowest[name] = Math.min(lowest[name] ?? Number.POSITIVE_INFINITY, await read())
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return lowest
}

const SAMPLES = 12

/** In the first half caches fill. Of the second half, the samples of its first part are compared with those of its last. */
function growth(samples, name) {
  const median = (part) => part.map((one) => one[name]).sort((a, b) => a - b)[Math.floor(part.length / 2)]
  const half = samples.slice(samples.length / 2)
  return [median(half.slice(0, half.length / 2)), median(half.slice(half.length / 2))]
}

async function measure(name, { times: [all, quick], atOnce, begin }) {
  const start = performance.now()
  const times = isQuick ? quick : all
  const { run, end } = await begin()
  const samples = []
  let next = 0
  const workUntil = async (target) => {
    while (next < target) await run(next++)
  }
  for (let part = 1; part <= SAMPLES; part++) {
    const target = Math.round((times * part) / SAMPLES)
    await Promise.all(Array.from({ length: atOnce }, () => workUntil(target)))
    samples.push(await sample())
  }
  await end?.()

  const grown = []
  const told = Object.entries(counts).map(([count, { noise }]) => {
    const [before, after] = growth(samples, count)
    if (after > before + noise) grown.push(count)
    const figures = [samples[0][count], before, after].map((figure) => Math.round(figure * 10) / 10)
    return `${figures.join(' -> ')} ${count}`
  })
  const seconds = Math.round((performance.now() - start) / 1000)
  const verdict = grown.length > 0 ? `GROWS: ${grown.join(', ')}` : 'flat'
  console.log(`flat: ${times} ${name} in ${seconds} s: ${told.join(', ')}: ${verdict}`)
  return grown.length > 0
}

const asked = process.argv.slice(2).filter((argument) => argument !== '--quick')
const names = asked.length > 0 ? asked : Object.keys(scenes)
const unknown = names.find((name) => !Object.hasOwn(scenes, name))
let growing = 0
try {
  if (unknown) throw new RangeError(`${unknown} is not known; known are ${Object.keys(scenes).join(', ')}`)
  for (const name of names) if (await measure(name, scenes[name])) growing++
  console.log(`flat: ${growing} of ${names.length} grow`)
} finally {
  await server.stop()
}
if (growing > 0) process.exitCode = 1
