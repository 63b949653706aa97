'use strict'

const { context, SpanStatusCode } = require('@opentelemetry/api')
const {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} = require('@opentelemetry/sdk-metrics')
const {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
} = require('@opentelemetry/sdk-trace-node')
const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const instrument = require('../otel')
const { bothDrivers } = require('./support/drivers')
const { lockerScene, lossOf } = require('./support/scene')
const { rejection, until } = require('./support/until')

const seconds = ([whole, nanos]) => whole + nanos / 1e9

describe.each(bothDrivers().drivers)('lock-inc/otel, with the driver %s,', (_, specOf) => {
  const scene = lockerScene(specOf)
  const { newLocker, waiting } = scene
  let stop
  let tracerProvider
  let spans
  let meterProvider
  let metricExporter
  let reader

  beforeEach(() => {
    spans = new InMemorySpanExporter()
    tracerProvider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
    // For the parents: this sets the global context manager.
    tracerProvider.register()
    metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
    reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 1e9 })
    meterProvider = new MeterProvider({ readers: [reader] })
    stop = instrument({ tracerProvider, meterProvider })
  })

  afterEach(async () => {
    stop()
    context.disable()
    await Promise.all([tracerProvider.shutdown(), meterProvider.shutdown()])
  })

  // What lockers of other test files leave behind in this process is told, too.
  const isOurs = ({ attributes }) => [undefined, scene.prefix].includes(attributes['lock_inc.prefix'])
  const ended = (name) => spans.getFinishedSpans().filter((span) => span.name === name && isOurs(span))

  /** What was measured under a name: the attributes and the value of each series. */
  async function measured(name) {
    metricExporter.reset()
    await reader.forceFlush()
    const [{ scopeMetrics }] = metricExporter.getMetrics()
    const metric = scopeMetrics
      .flatMap(({ metrics }) => metrics)
      .find(({ descriptor }) => descriptor.name === `lock_inc.${name}`)
    return (metric?.dataPoints ?? []).filter(isOurs).map(({ attributes, value }) => ({ attributes, value }))
  }

  /** The sum over all series with these attributes. */
  async function total(name, attributes = {}) {
    const matching = (await measured(name)).filter((series) =>
      Object.entries(attributes).every(([key, value]) => series.attributes[key] === value),
    )
    return matching.reduce((sum, { value }) => sum + (value.count ?? value), 0)
  }

  it('makes a span of the call and one of the lock, which links to it, in the span of the caller', async () => {
    const tracer = tracerProvider.getTracer('test')
    const lock = await tracer.startActiveSpan('work', async (work) => {
      const lock = await newLocker().lock('resource')
      await new Promise((resolve) => setTimeout(resolve, 30))
      await lock.unlock()
      work.end()
      return lock
    })
    const [[acquire], [hold], [work]] = ['lock acquire', 'lock hold', 'work'].map(ended)
    for (const span of [acquire, hold]) {
      expect(span.parentSpanContext.spanId).toBe(work.spanContext().spanId)
      expect(span.status.code).toBe(SpanStatusCode.UNSET)
    }
    expect(hold.links.map((link) => link.context.spanId)).toEqual([acquire.spanContext().spanId])
    expect(acquire.attributes).toEqual({
      'lock_inc.prefix': scene.prefix,
      'lock_inc.mode': 'exclusive',
      'lock_inc.resource.names': ['resource'],
      'lock_inc.outcome': 'granted',
      'lock_inc.waited': false,
    })
    expect(hold.attributes).toEqual({
      'lock_inc.prefix': scene.prefix,
      'lock_inc.mode': 'exclusive',
      'lock_inc.resource.names': ['resource'],
      'lock_inc.token': lock.token,
    })
    expect(seconds(hold.duration)).toBeGreaterThan(0.02)
  })

  it('gives the calls of several callers at once the parents that are theirs', async () => {
    const tracer = tracerProvider.getTracer('test')
    const locker = newLocker()
    const work = (index) =>
      tracer.startActiveSpan(`work ${index}`, async (span) => {
        await locker.request('resource', () => new Promise(setImmediate))
        span.end()
      })
    await Promise.all(Array.from({ length: 8 }, (_, index) => work(index)))
    await until(() => ended('lock hold').length === 8, 'all have ended')
    const byId = new Map(spans.getFinishedSpans().map((span) => [span.spanContext().spanId, span]))
    for (const name of ['lock acquire', 'lock hold']) {
      const parents = ended(name).map((span) => byId.get(span.parentSpanContext.spanId).name)
      expect(parents.sort()).toEqual(Array.from({ length: 8 }, (_, index) => `work ${index}`))
    }
    for (const hold of ended('lock hold')) {
      const [link] = hold.links
      expect(byId.get(link.context.spanId).parentSpanContext.spanId).toBe(hold.parentSpanContext.spanId)
    }
  })

  it('says of a call that waits who is in the way, and counts it meanwhile', async () => {
    const first = await newLocker().lock('resource')
    const locking = newLocker().lock('resource', { timeout: 20_000 })
    await waiting('resource', 1)
    await until(async () => (await total('waiting')) === 1, 'it is counted')
    expect(await total('held')).toBe(1)
    await first.unlock()
    const second = await locking
    expect(await total('waiting')).toBe(0)
    const span = ended('lock acquire').find(({ attributes }) => attributes['lock_inc.waited'])
    expect(span.events).toMatchObject([
      {
        name: 'waiting',
        attributes: { 'lock_inc.resource.names': ['resource'], 'lock_inc.queue.position': 1 },
      },
    ])
    expect(await total('grants', { 'lock_inc.waited': true })).toBe(1)
    await second.unlock()
    expect(await total('held')).toBe(0)
  })

  it('has an error of a refusal, and none of its names in a metric', async () => {
    const locker = newLocker()
    await locker.lock('resource', { mode: 'shared' })
    await rejection(locker.lock('resource'))
    const span = ended('lock acquire')[1]
    expect(span.status).toMatchObject({ code: SpanStatusCode.ERROR, message: 'Resource locked' })
    expect(span.attributes).toMatchObject({
      'error.type': 'ERR_RESOURCE_LOCKED',
      'lock_inc.outcome': 'refused',
      'lock_inc.holder.pid': process.pid,
      'lock_inc.holder.host': os.hostname(),
    })
    expect(await total('refusals', { 'lock_inc.mode': 'exclusive' })).toBe(1)
    expect(await total('acquire.duration', { 'lock_inc.outcome': 'refused' })).toBe(1)
    expect(await total('grants', { 'lock_inc.mode': 'shared' })).toBe(1)
    await reader.forceFlush()
    expect(JSON.stringify(metricExporter.getMetrics().map(({ scopeMetrics }) => scopeMetrics))).not.toMatch(
      /"resource"/,
    )
  })

  it.each([
    ['lock that is taken away', 'purged', (locker) => locker.forceUnlock('resource')],
    ['lock that is stolen', 'stolen', (locker) => locker.lock('resource', { steal: true })],
    ['lease that ends', 'expired', () => {}],
  ])('has an error of a %s', async (_, reason, take) => {
    const expire = reason === 'expired' ? 0.05 : 30
    const lock = await newLocker().lock('resource', { expire })
    const lost = lossOf(lock)
    await take(newLocker())
    await lost
    await lock.unlock()
    const [hold] = ended('lock hold')
    expect(hold.status.code).toBe(SpanStatusCode.ERROR)
    expect(hold.attributes).toMatchObject({ 'error.type': 'ERR_LOCK_LOST', 'lock_inc.loss.reason': reason })
    expect(await total('losses', { 'lock_inc.loss.reason': reason })).toBe(1)
    expect(await total('losses')).toBe(1)
    expect(await total('hold.duration', { 'lock_inc.outcome': 'lost' })).toBe(1)
    expect(await total('held')).toBe(reason === 'stolen' ? 1 : 0)
  })

  it('has one span of a call for several resources, and one of each lock', async () => {
    const set = await newLocker().lock(['a', 'b'])
    await set.unlock()
    const [acquire, ...more] = ended('lock acquire')
    expect(more).toEqual([])
    expect(acquire.attributes['lock_inc.resource.names']).toEqual(['a', 'b'])
    const links = ended('lock hold').map(({ links }) => links.map((link) => link.context.spanId))
    const { spanId } = acquire.spanContext()
    expect(links).toEqual([[spanId], [spanId]])
    expect(await total('acquire.duration')).toBe(1)
    expect(await total('grants')).toBe(2)
    expect(await total('hold.duration', { 'lock_inc.outcome': 'released' })).toBe(2)
  })

  it('tells a call that was given up from one that has failed', async () => {
    const locker = newLocker()
    await locker.lock('resource')
    const controller = new AbortController()
    const locking = newLocker().lock('resource', { timeout: 20_000, signal: controller.signal })
    await until(async () => (await total('waiting')) === 1, 'it waits')
    controller.abort()
    await rejection(locking)
    await locker.close()
    await rejection(locker.lock('resource'))
    expect(ended('lock acquire').map(({ attributes }) => attributes['lock_inc.outcome'])).toEqual([
      'granted',
      'aborted',
      'failed',
    ])
    expect(await total('failures', { 'error.type': 'aborted' })).toBe(1)
    expect(await total('failures', { 'error.type': 'ERR_CLOSED' })).toBe(1)
    expect(await total('waiting')).toBe(0)
  })

  it('counts renewals', async () => {
    const lock = await newLocker().lock('resource', { expire: 0.6, renew: true })
    await until(async () => (await total('renewals', { 'lock_inc.outcome': 'renewed' })) > 0, 'it is renewed')
    await lock.unlock()
  })

  it('ends what is open when it is stopped, and hears nothing more', async () => {
    const lock = await newLocker().lock('resource')
    stop()
    expect(ended('lock hold')).toHaveLength(1)
    expect(await total('held')).toBe(0)
    await lock.unlock()
    await (await newLocker().lock('resource')).unlock()
    expect(await total('grants')).toBe(1)
    expect(spans.getFinishedSpans().filter(isOurs)).toHaveLength(2)
    stop()
  })

  it('leaves the names of resources out of the spans where that is asked for', async () => {
    stop()
    stop = instrument({ tracerProvider, meterProvider, resourceNames: false })
    const lock = await newLocker().lock('resource')
    await lock.unlock()
    expect(ended('lock hold')).toHaveLength(1)
    for (const { attributes } of spans.getFinishedSpans()) {
      expect(attributes).not.toHaveProperty(['lock_inc.resource.names'])
    }
  })
})

describe('lock-inc/otel', () => {
  it('says what to install where OpenTelemetry is not there', () => {
    const root = path.join(__dirname, '..')
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-otel-'))
    fs.cpSync(path.join(root, 'otel'), path.join(folder, 'otel'), { recursive: true })
    fs.copyFileSync(path.join(root, 'package.json'), path.join(folder, 'package.json'))
    const script = `try { require('./otel')() } catch ({ code, message }) { console.log(code + ': ' + message) }`
    const output = execFileSync(process.execPath, ['-e', script], { cwd: folder, encoding: 'utf8' })
    fs.rmSync(folder, { recursive: true })
    expect(output).toBe(
      'ERR_OTEL_NOT_INSTALLED: lock-inc/otel needs @opentelemetry/api: npm install @opentelemetry/api\n',
    )
  })
})
