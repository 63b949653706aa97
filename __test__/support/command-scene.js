'use strict'

const { lockInc } = require('./command-line')
const { redisScene } = require('./scene')
const { until } = require('./until')

/** A `redisScene`, and what the tests of the command line need beside it. */
function commandScene() {
  const scene = redisScene()

  /** What leads the command line to the server and the prefix of the test. */
  scene.environment = () => ({
    LOCK_INC_URL: `redis://127.0.0.1:${scene.server.port}`,
    LOCK_INC_PREFIX: scene.prefix,
  })

  /** What comes of a command. */
  scene.ask = (args, options) => lockInc(args, { env: scene.environment(), ...options }).ended

  /** The names that `ls` lists as held. */
  scene.listed = async (args = [], env = scene.environment()) => {
    const { code, stdout, stderr } = await scene.ask(['ls', '--json', ...args], { env })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    return JSON.parse(stdout).held.map(({ name }) => name)
  }

  /** A lock of which others are told already. */
  scene.held = async (name, options) => {
    const locker = scene.newLocker()
    const lock = await locker.lock(name, { renew: true, ...options })
    const watcher = scene.newLocker()
    const isTold = async () => (await watcher.query()).held.some((one) => one.name === name)
    await until(isTold, `others are told of ${name}`)
    return { lock, locker }
  }

  return scene
}

module.exports = { commandScene }
