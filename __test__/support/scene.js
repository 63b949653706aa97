'use strict'

const crypto = require('node:crypto')
const lockFactory = require('../..')
const { FaultyProxy } = require('./proxy')
const { startRedis } = require('./redis-server')
const { until } = require('./until')

/**
 * What most tests on Redis need, in place before each of them: a server for the file, and for each test a prefix of
 * its own and lockers that are closed at its end. `throughProxy`: they connect through a proxy that can misbehave. `name`: of
 * which server there is one.
 */
function redisScene({ throughProxy = false, name } = {}) {
  const opened = []
  const scene = {
    server: undefined,
    proxy: undefined,
    prefix: undefined,

    /** `settings` aside, options are those of `config`. */
    newLocker({ settings, ...config } = {}) {
      const { port } = scene.proxy ?? scene.server
      const locker = lockFactory({
        driver: 'redis',
        config: { port, retry_max_delay: 50, ...config },
        settings: { prefix: scene.prefix, ...settings },
      })
      opened.push(locker)
      return locker
    },

    /** For a process of its own, past the proxy. */
    spec: () => ({
      driver: 'redis',
      config: { port: scene.server.port },
      settings: { prefix: scene.prefix },
    }),

    /** Waits until so many calls wait for the resource. */
    waiting: (resource, count) => waiting(scene.newLocker({ port: scene.server.port }), resource, count),

    key: (resource) => scene.prefix + lockFactory.hash(resource),
    keys: (pattern = `${scene.prefix}*`) => scene.server.keys(pattern),
    exists: async (resource) => (await scene.server.call('EXISTS', scene.key(resource))) === 1,

    /** What the server has of the one holder of a resource. */
    async recordOf(resource) {
      const nonce = (await scene.server.call('GET', scene.key(resource))).slice(0, 13)
      return scene.server.call('HGET', `${scene.key(resource)}:clients`, `holder:${nonce}`)
    },
  }

  beforeAll(async () => {
    scene.server = await startRedis({ name })
  })

  afterAll(() => scene.server.stop())

  beforeEach(async () => {
    scene.prefix = `${crypto.randomUUID()}:`
    if (throughProxy) scene.proxy = await FaultyProxy.to(scene.server.port)
  })

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((locker) => locker.close()))
    await scene.proxy?.close()
  })

  return scene
}

/**
 * What a suite over several drivers needs: for each test a prefix of its own and lockers that are closed at its end.
 * `options`: of each lock that is asked for, unless the test says otherwise.
 */
function lockerScene(specOf, options) {
  const opened = []
  const scene = {
    prefix: undefined,
    newLocker(prefix = scene.prefix) {
      const locker = lockFactory(specOf(prefix))
      opened.push(locker)
      return options ? asking(locker, options) : locker
    },

    /** Waits until so many calls wait for the resource. */
    waiting: (resource, count) => waiting(scene.newLocker(), resource, count),
  }

  beforeEach(() => {
    scene.prefix = `${crypto.randomUUID()}:`
  })

  afterEach(() => Promise.all(opened.splice(0).map((locker) => locker.close())))

  return scene
}

/** The locker, which asks for locks with these options. */
function asking(locker, options) {
  const lock = (resource, more) => locker.lock(resource, { ...options, ...more })
  const tryLock = (resource, more) => locker.tryLock(resource, { ...options, ...more })
  return Object.assign(Object.create(locker), { lock, tryLock })
}

async function waiting(locker, resource, count) {
  const number = async () => (await locker.inspect(resource))?.waiters.length ?? 0
  await until(async () => (await number()) === count, `${count} wait for ${resource}`)
}

/** Waits until the server knows which lock somebody holds: that is told of one that lasts. What it knows. */
function introduced(locker, resource) {
  const known = async () => (await locker.inspect(resource))?.holders.find(({ token }) => token !== null)
  return until(known, `it is known who holds ${resource}`)
}

/** The locker, as soon as it is connected: that may take longer than its calls may. */
async function connected(locker) {
  const answers = () =>
    locker.isLocked('warm-up').then(
      () => true,
      () => false,
    )
  await until(answers, 'it is connected')
  return locker
}

/** The error with which a lock is lost. */
function lossOf({ signal }) {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason)
    else signal.addEventListener('abort', () => resolve(signal.reason), { once: true })
  })
}

/** Blocks the JavaScript thread. */
function block(ms) {
  const end = performance.now() + ms
  while (performance.now() < end);
}

module.exports = { block, connected, introduced, lockerScene, lossOf, redisScene, waiting }
