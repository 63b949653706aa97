'use strict'

const { EXIT, bySignal } = require('./exit-codes')

/**
 * Whoever reads our output may have heard enough, as `head` has. Then this ends as other programs do, of which that is the
 * default; what is said on stderr nobody needs to hear.
 */
function guardOutput() {
  process.stdout.on('error', (/** @type {NodeJS.ErrnoException} */ error) => {
    if (error.code === 'EPIPE') process.exit(bySignal('SIGPIPE'))
    process.stderr.write(`lock-inc: stdout: ${error.message}\n`)
    process.exit(EXIT.output)
  })
  process.stderr.on('error', () => {})
}

module.exports = { guardOutput }
