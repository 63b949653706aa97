'use strict'

// Before the rest, which an old Node.js cannot read.
require('./lib/node-version')
const os = require('node:os')
const errors = require('./lib/errors')
const { hash } = require('./lib/hash')
const { Locker } = require('./lib/locker')
const { isNode } = require('./lib/is-node')
const native = require('./lib/native')
const { readSpec } = require('./lib/options/spec')
const { bindStrategy } = require('./lib/strategy')

function lockFactory(spec) {
  const { checked, aliasedDatabase } = readSpec(spec)
  bindStrategy(checked)
  // What is checked there is TLS: certificates and keys.
  const make = (listener) =>
    errors.checked(() => native.lockFactory(checked, os.hostname(), listener, isNode))
  const locker = new Locker(make, checked)
  if (aliasedDatabase !== undefined) warnOfDatabase(aliasedDatabase)
  return locker
}

let warned = false

/** 1.2.0 ignored `database` and used db 0: beside it, locks of the two versions would not see each other. */
function warnOfDatabase(database) {
  if (warned) return
  warned = true
  process.emitWarning(
    `config.database now selects db ${database}; lock-inc 1.2.0 ignored it and kept its locks in db 0. ` +
      'Write config.db instead: 0 to stay with locks of 1.2.0, or the number to move.',
    { type: 'LockIncWarning', code: 'LOCK_INC_DATABASE' },
  )
}

// Assigned one by one: Node finds the names of a CommonJS module for `import { hash }` by reading these lines.
module.exports = lockFactory
module.exports.lockFactory = lockFactory
module.exports.default = lockFactory
module.exports.hash = hash
module.exports.LockError = errors.LockError
module.exports.ResourceLockedError = errors.ResourceLockedError
module.exports.LockLostError = errors.LockLostError
module.exports.ConnectionError = errors.ConnectionError
module.exports.RedisError = errors.RedisError
module.exports.ReplicationError = errors.ReplicationError
module.exports.ClosedError = errors.ClosedError
