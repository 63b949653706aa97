const os = require('node:os')
const errors = require('./lib/errors')
const { Locker } = require('./lib/locker')
const native = require('./native')

function lockFactory(spec) {
  return new Locker(native.lockFactory(spec, os.hostname()))
}

// Assigned one by one: Node finds the names of a CommonJS module for `import { hash }` by reading these lines.
module.exports = lockFactory
module.exports.lockFactory = lockFactory
module.exports.default = lockFactory
module.exports.hash = native.hash
module.exports.LockError = errors.LockError
module.exports.ResourceLockedError = errors.ResourceLockedError
module.exports.ConnectionError = errors.ConnectionError
module.exports.RedisError = errors.RedisError
module.exports.ClosedError = errors.ClosedError
