'use strict'

const crypto = require('node:crypto')
const lockFactory = require('../..')
const { Cluster } = require('./cluster')
const { waiting } = require('./scene')
const { slotOf } = require('./slots')

/**
 * What most tests on a cluster need: one for the file, which is whole again after each test, and for each test a prefix of
 * its own and lockers that are closed at its end. `options`: those of `Cluster.start`.
 */
function clusterScene(options) {
  const opened = []
  const scene = {
    cluster: undefined,
    prefix: undefined,

    /** `settings` aside, options are those of `config`. */
    newLocker({ settings, ...config } = {}) {
      const locker = lockFactory({
        driver: 'redis',
        config: { nodes: scene.cluster.addresses(), retry_max_delay: 50, ...config },
        settings: { prefix: scene.prefix, ...settings },
      })
      opened.push(locker)
      return locker
    },

    /** Lockers that share no connection. */
    newLockers: (count) =>
      Array.from({ length: count }, (_, index) =>
        scene.newLocker({ settings: { commandTimeout: 20_000 + index } }),
      ),

    /** For a process of its own. */
    spec: () => ({
      driver: 'redis',
      config: { nodes: scene.cluster.addresses() },
      settings: { prefix: scene.prefix },
    }),

    /** Waits until so many calls wait for the resource. */
    waiting: (resource, count) => waiting(scene.newLocker(), resource, count),

    key: (resource) => `${scene.prefix}{${lockFactory.hash(resource)}}`,
    slot: (resource) => slotOf(scene.key(resource)),

    /** The primary that a resource is at. */
    nodeOf: (resource) => scene.cluster.primaryOf(scene.slot(resource)),

    /** Names of resources in one slot. */
    namesInSlot: (slot, count) => names(count, (name) => scene.slot(name) === slot),

    /** Names of resources that are served by a node at the moment, each in a slot of its own. */
    async namesOn(node, count) {
      const { ranges } = (await scene.cluster.primaries()).find((primary) => primary.node === node)
      const slots = new Set()
      return names(count, (name) => {
        const slot = scene.slot(name)
        if (slots.has(slot) || !ranges.some(([first, last]) => first <= slot && slot <= last)) return false
        return slots.add(slot)
      })
    },
  }

  beforeAll(async () => {
    scene.cluster = await Cluster.start(options)
  }, 30_000)

  afterAll(() => scene.cluster?.stop())

  beforeEach(() => {
    scene.prefix = `${crypto.randomUUID()}:`
  })

  afterEach(async () => {
    await scene.cluster.heal()
    await Promise.all(opened.splice(0).map((locker) => locker.close()))
  })

  return scene
}

/** So many names that pass. */
function names(count, passes) {
  const found = []
  for (let index = 0; found.length < count; index++) {
    const name = `resource ${index}`
    if (passes(name)) found.push(name)
  }
  return found
}

module.exports = { clusterScene }
