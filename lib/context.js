'use strict'

const { AsyncResource } = require('node:async_hooks')

/** The async context of a call, for what is called back on its behalf. */
class Context extends AsyncResource {
  constructor() {
    super('lock-inc')
  }

  /** It keeps no process alive, which jest asks before it calls something an open handle. */
  hasRef() {
    return false
  }
}

module.exports = { Context }
