'use strict'

const Redis = require('ioredis')
const semaphores = require('redis-semaphore')
const { redisScene } = require('./scene')

/**
 * What the code for other libraries needs beside a `redisScene`: a client of the scene's server, under the prefix of the
 * test. Whatever they leave behind is ended with the test.
 */
function otherScene() {
  const scene = redisScene()
  const clients = []
  const refreshed = []

  scene.newClient = (options) => {
    const client = new Redis({
      port: scene.server.port,
      keyPrefix: `${scene.prefix}other:`,
      // One that is ended while it connects leaves a timer behind.
      lazyConnect: true,
      ...options,
    })
    client.on('error', () => {})
    clients.push(client)
    return client
  }

  /** A class of redis-semaphore, of which no refresh goes on after the test. */
  const stoppable = (Class) =>
    class extends Class {
      constructor(...args) {
        super(...args)
        refreshed.push(this)
      }
    }
  scene.Mutex = stoppable(semaphores.Mutex)
  scene.Semaphore = stoppable(semaphores.Semaphore)
  scene.MultiSemaphore = stoppable(semaphores.MultiSemaphore)

  beforeEach(() => {
    scene.client = scene.newClient()
  })

  afterEach(async () => {
    for (const lock of refreshed.splice(0)) lock.stopRefresh()
    await Promise.all(clients.splice(0).map(end))
  })

  return scene
}

/** Ends a client; it has ended when this resolves. */
function end(client) {
  if (client.status === 'end') return
  const ended = new Promise((resolve) => client.once('end', resolve))
  client.disconnect()
  return ended
}

module.exports = { otherScene }
