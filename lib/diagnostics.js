'use strict'

const { channel } = require('node:diagnostics_channel')
const { log } = require('./debug')

/**
 * What is told of one kind: `require('node:diagnostics_channel').subscribe('lock-inc:lost', ...)` hears it. `ChannelMessages`
 * in index.d.ts says what the messages are.
 */
class Topic {
  #name
  #channel

  constructor(name) {
    this.#name = name
    this.#channel = channel(`lock-inc:${name}`)
  }

  get isHeard() {
    return this.#channel.hasSubscribers || log !== undefined
  }

  /** `message`: makes it. While nobody listens, it is not made. */
  publish(message) {
    if (!this.isHeard) return
    const told = message()
    this.#channel.publish(told)
    log?.(this.#name, told)
  }
}

const topics = {
  ask: new Topic('ask'),
  wait: new Topic('wait'),
  acquire: new Topic('acquire'),
  contended: new Topic('contended'),
  fail: new Topic('fail'),
  renew: new Topic('renew'),
  renewFailed: new Topic('renew-failed'),
  extend: new Topic('extend'),
  release: new Topic('release'),
  lost: new Topic('lost'),
  disconnect: new Topic('disconnect'),
  reconnect: new Topic('reconnect'),
}

/** Whether anybody listens to what only the addon can tell of a call and its locks. */
function isWatched() {
  return topics.wait.isHeard || topics.renew.isHeard || topics.renewFailed.isHeard
}

module.exports = { isWatched, topics }
