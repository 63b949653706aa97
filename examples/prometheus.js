'use strict'

// Metrics of locks for Prometheus, made of what the diagnostics channels tell.
//
// Run it with REDIS_URL=redis://localhost:6379 node examples/prometheus.js, and look at http://localhost:9464/metrics

const { subscribe } = require('node:diagnostics_channel')
const http = require('node:http')
const prometheus = require('prom-client')
const lockFactory = require('..')

const buckets = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 10, 30, 60, 300]

// No metric has the name of a resource for a label: each value of a label is a series, and names may be any number.
const acquireSeconds = new prometheus.Histogram({
  name: 'lock_acquire_seconds',
  help: 'How long calls take until they have locks, or are told that they get none',
  labelNames: ['outcome'],
  buckets,
})
const holdSeconds = new prometheus.Histogram({
  name: 'lock_hold_seconds',
  help: 'How long locks are held',
  labelNames: ['outcome'],
  buckets,
})
const lost = new prometheus.Counter({
  name: 'lock_lost_total',
  help: 'Locks that were lost while they were held',
  labelNames: ['reason'],
})
const failed = new prometheus.Counter({
  name: 'lock_failed_total',
  help: 'Calls that ended without a lock, though nobody was in the way',
  labelNames: ['code'],
})
const held = new prometheus.Gauge({ name: 'lock_held', help: 'Locks that are held' })
const waiting = new prometheus.Gauge({ name: 'lock_waiting', help: 'Calls that wait for somebody else' })

/** The numbers of the calls that have no answer yet, and of those that wait; and of the locks that are held. */
const [calls, waits, locks] = [new Set(), new Set(), new Set()]

/** Of a call that was granted several locks there are several messages: the first one counts. */
function endCall({ call, duration }, outcome) {
  waits.delete(call)
  waiting.set(waits.size)
  if (calls.delete(call)) acquireSeconds.observe({ outcome }, duration / 1000)
}

function endHold({ lock, duration }, outcome) {
  if (locks.delete(lock)) holdSeconds.observe({ outcome }, duration / 1000)
  held.set(locks.size)
}

subscribe('lock-inc:ask', ({ call }) => calls.add(call))
subscribe('lock-inc:wait', ({ call }) => waiting.set(waits.add(call).size))
subscribe('lock-inc:acquire', (message) => {
  endCall(message, 'granted')
  held.set(locks.add(message.lock).size)
})
subscribe('lock-inc:contended', (message) => endCall(message, 'refused'))
subscribe('lock-inc:fail', (message) => {
  endCall(message, message.aborted ? 'aborted' : 'failed')
  if (!message.aborted) failed.inc({ code: message.error.code ?? 'unknown' })
})
subscribe('lock-inc:release', (message) => endHold(message, message.held ? 'released' : 'lost'))
subscribe('lock-inc:lost', (message) => {
  endHold(message, 'lost')
  lost.inc({ reason: message.reason })
})

const locker = lockFactory({
  driver: 'redis',
  config: { url: process.env.REDIS_URL ?? 'redis://localhost:6379' },
  settings: { prefix: 'example:' },
})

const server = http.createServer(async (request, response) => {
  if (request.url === '/metrics') {
    response.setHeader('Content-Type', prometheus.register.contentType)
    return response.end(await prometheus.register.metrics())
  }
  // Some work that only one at a time may do: two requests at once, and one of them waits.
  try {
    await locker.request(request.url, { timeout: '5s' }, () => new Promise((done) => setTimeout(done, 100)))
    response.end('done\n')
  } catch (error) {
    response.writeHead(503).end(`${error.message}\n`)
  }
})

server.listen(process.env.PORT ?? 9464, () => {
  console.log(`http://localhost:${server.address().port}/metrics`)
})
process.once('SIGTERM', () => {
  server.close(() => locker.close())
  server.closeAllConnections()
})
