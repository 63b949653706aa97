'use strict'

const { Buffer } = require('node:buffer')

/** @type {Buffer | undefined} */
let authorities

/**
 * Whom Node.js trusts where no `ca` is given, as PEM: what its command line and its environment say, or else the list of
 * Mozilla that it brings along.
 */
function defaultAuthorities() {
  // Loaded only when it is needed, as most have no TLS.
  authorities ??= Buffer.from(listOfNode(require('node:tls')).join('\n'))
  return authorities
}

/** @param {any} tls @returns {readonly string[]} */
function listOfNode(tls) {
  // New in Node.js 22.15 and 23.10.
  if (tls.getCACertificates) return tls.getCACertificates('default')
  return [...tls.rootCertificates, ...extraAuthorities()]
}

/** Where it cannot be read, Node.js has said so when it started. */
function extraAuthorities() {
  const file = process.env.NODE_EXTRA_CA_CERTS
  if (!file) return []
  try {
    return [require('node:fs').readFileSync(file, 'utf8')]
  } catch {
    return []
  }
}

let warned = false

/** Whether certificates are verified where `rejectUnauthorized` does not say so. */
function verifiesByDefault() {
  const verifies = process.env.NODE_TLS_REJECT_UNAUTHORIZED !== '0'
  if (!verifies && !warned) {
    warned = true
    process.emitWarning(
      'NODE_TLS_REJECT_UNAUTHORIZED=0 is set, so the certificate of Redis is not verified: give config.tls.ca instead',
      { type: 'LockIncWarning', code: 'LOCK_INC_TLS_UNVERIFIED' },
    )
  }
  return verifies
}

module.exports = { defaultAuthorities, verifiesByDefault }
