'use strict'

const { debuglog } = require('node:util')
const { named, quoted, time } = require('./words')

/** What `NODE_DEBUG=lock-inc` makes of what is published: a line for each decision. Never a part of `config`. */
const lines = {
  ask: ({ call, resourceIds, mode, limit, expire, renew, timeout, steal }) => {
    const lease = `${renew ? 'renewed ' : ''}lease of ${time(expire)}`
    const how = steal ? ', from whoever holds it' : waiting(timeout)
    return `#${call} asks for ${all(resourceIds)}: ${mode}${limit ? `, ${limit} at most` : ''}, ${lease}${how}`
  },
  wait: (message) => `#${message.call} waits for ${quoted(message.resourceId)}, ${inTheWay(message)}`,
  acquire: ({ call, resourceId, token, waited, duration }) =>
    `#${call} granted ${lock({ resourceId, token })} after ${time(duration)}${waited ? ', handed over' : ''}`,
  contended: (message) =>
    `#${message.call} refused ${quoted(message.resourceId)} after ${time(message.duration)}, ${inTheWay(message)}`,
  fail: ({ call, resourceIds, aborted, error, duration }) =>
    `#${call} without ${all(resourceIds)} after ${time(duration)}: ${aborted ? 'its signal has aborted' : words(error)}`,
  renew: (message) => `${lock(message)} renewed`,
  'renew-failed': (message) => `${lock(message)} not renewed: ${words(message.error)}`,
  extend: (message) => {
    const { lease, extended, error } = message
    const why = error ? `: ${words(error)}` : ': it is not held any more'
    return `${lock(message)} ${extended ? 'extended' : 'not extended'} to ${time(lease)}${extended ? '' : why}`
  },
  release: (message) => {
    const { held, error, duration } = message
    const not = error ? `, but ${words(error)}` : ', but it was not held any more'
    return `${lock(message)} released after ${time(duration)}${held ? '' : not}`
  },
  lost: (message) => `${lock(message)} lost after ${time(message.duration)}: ${message.reason}`,
  disconnect: ({ error }) => error.message,
  reconnect: () => 'Connected again',
}

function waiting(timeout) {
  if (timeout === 0) return ', without waiting'
  return timeout === Number.POSITIVE_INFINITY ? ', waits for ever' : `, waits for ${time(timeout)}`
}

function all(resourceIds) {
  return resourceIds.map(quoted).join(', ')
}

function lock({ resourceId, token }) {
  return `${quoted(resourceId)} (token ${token})`
}

function inTheWay({ holder, leaseLeft, position }) {
  const place = position === null ? '' : ` at place ${position}`
  // Who has just got it may not be known yet.
  return `held${holder ? ` by ${named(holder)}` : ''} for another ${time(leaseLeft)}${place && `,${place}`}`
}

/** Of a signal it may be anything. */
function words(error) {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}

const debug = debuglog('lock-inc')

/** Writes down what was published on a channel. `undefined` where nobody wants to read that. */
const log = debug.enabled
  ? (name, message) => debug('%s %s', `[${message.prefix}]`, lines[name](message))
  : undefined

module.exports = { log }
