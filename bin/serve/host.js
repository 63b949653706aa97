'use strict'

/**
 * Whether a request was meant for this machine. A browser that a site has led here by a name of its own, which it has made to
 * mean 127.0.0.1 (DNS rebinding), says that name.
 *
 * @param {import('node:http').IncomingMessage} request
 */
function isForThisMachine({ headers }) {
  return /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i.test(headers.host ?? '')
}

module.exports = { isForThisMachine }
