'use strict'

/** A request that is refused, with the status of its answer. */
class Refusal extends Error {
  constructor(status, code, message) {
    super(message)
    this.status = status
    this.code = code
  }
}

module.exports = { Refusal }
