'use strict'

const { Buffer } = require('node:buffer')

/**
 * Whom Node.js trusts where no `ca` is given, as PEM: what its command line and its environment say, or else the list of
 * Mozilla that it brings along. Nothing means nobody.
 */
function defaultAuthorities() {
  // Loaded only when it is needed, as most have no TLS.
  const list = listOfNode(require('node:tls'))
  return list.length > 0 ? [Buffer.from(list.join('\n'))] : []
}

/** @type {readonly string[] | undefined} */
let listAtFirst

/** @param {any} tls @returns {readonly string[]} */
function listOfNode(tls) {
  // New in Node.js 22.15 and 23.10. It is asked each time, as the list can be replaced.
  if (tls.getCACertificates) {
    if (!usesStoreOfOpenssl()) return tls.getCACertificates('default')
    // The default has nothing of that store.
    return [...tls.getCACertificates('extra'), ...tls.getCACertificates('system')]
  }
  listAtFirst ??= [
    ...(usesStoreOfOpenssl() ? storeOfOpenssl() : tls.rootCertificates),
    ...certificatesIn(process.env.NODE_EXTRA_CA_CERTS),
  ]
  return listAtFirst
}

/** By the command line, or by how Node.js was built, as it is in some distributions. */
function usesStoreOfOpenssl() {
  const options = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
  if (options.includes('--use-bundled-ca')) return false
  /** @type {any} */
  const build = process.config
  return (
    options.includes('--use-openssl-ca') ||
    Boolean(build?.target_defaults?.defines?.includes('NODE_OPENSSL_CERT_STORE'))
  )
}

/** Debian and Alpine, Fedora, the BSDs and macOS. */
const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
]

function storeOfOpenssl() {
  return certificatesIn(process.env.SSL_CERT_FILE || BUNDLES.find(require('node:fs').existsSync))
}

/** What can be read of a file. Where something cannot, Node.js has said so when it started. @param {string | undefined} file */
function certificatesIn(file) {
  if (!file) return []
  let text
  try {
    text = require('node:fs').readFileSync(file, 'latin1')
  } catch {
    return []
  }
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []
  return blocks.filter(isReadable)
}

/** @param {string} pem */
function isReadable(pem) {
  try {
    return Boolean(new (require('node:crypto').X509Certificate)(pem))
  } catch {
    return false
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
