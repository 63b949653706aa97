'use strict'

const { UsageError } = require('../usage-error')

/**
 * Listens on this machine alone, and resolves to the address of the page.
 *
 * @param {import('node:http').Server} server
 * @param {number} port
 * @returns {Promise<string>}
 */
function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once('error', (/** @type {NodeJS.ErrnoException} */ error) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new UsageError(`the port ${port} is taken: say another one with --port, or --port 0`)
          : error,
      )
    })
    server.listen(port, '127.0.0.1', () => {
      const address = /** @type {import('node:net').AddressInfo} */ (server.address())
      resolve(`http://127.0.0.1:${address.port}/`)
    })
  })
}

/** Resolves at Ctrl-C, or when the process is asked to end. @returns {Promise<void>} */
function untilSignal() {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => resolve())
  })
}

module.exports = { listen, untilSignal }
