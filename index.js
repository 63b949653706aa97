'use strict'

const os = require('node:os')
const errors = require('./lib/errors')
const { hash } = require('./lib/hash')
const { Locker } = require('./lib/locker')
const native = require('./native')

function lockFactory(spec) {
  return new Locker((listener) => {
    const made = errors.checked(() => native.lockFactory(spec, os.hostname(), listener))
    if (made.aliasedDatabase) warnOfDatabase(made.aliasedDatabase)
    return made
  }, native.Cancellation)
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
module.exports.ClosedError = errors.ClosedError
