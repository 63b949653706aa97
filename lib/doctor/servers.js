'use strict'

const os = require('node:os')
const { checked } = require('../errors')
const { isNode } = require('../is-node')
const native = require('../native')
const { bindStrategy } = require('../strategy')
const { Server, settled } = require('./server')

/** The servers and sentinels of a locker of this kind. @param {import('../native').Spec} spec */
function askable(spec) {
  bindStrategy(spec)
  const inquiry = checked(() => native.inquire(spec, os.hostname(), isNode))
  return {
    /** Those that have locks. Rejects where none of them can be reached. */
    async servers() {
      const names = await settled(inquiry.servers())
      return names.map((name) => new Server(inquiry, name))
    },

    /** Those that are known by now. */
    sentinels: () => inquiry.sentinels().map((name) => new Server(inquiry, name)),
  }
}

module.exports = { askable }
