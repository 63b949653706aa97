'use strict'

/**
 * A subject. Each of its findings has a key, under which `findings` has what is always so of it.
 *
 * @typedef {object} Subject
 * @property {string} name
 * @property {{ [key: string]: import('../report').Kind }} findings
 */

/** Whether there is a server at all. @type {Subject} */
const connection = require('./connection')

/** What is looked at on each server that has locks, in the order in which it is told. */
const ofEachServer = [
  require('./server'),
  require('./messages'),
  require('./rights'),
  require('./eviction'),
  require('./persistence'),
  require('./replicas'),
  require('./speed'),
  require('./clock'),
]

/** What is looked at once, given all servers. */
const ofAll = [require('./sentinels'), require('./cluster'), require('./locks')]

module.exports = { connection, ofAll, ofEachServer }
