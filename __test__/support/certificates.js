'use strict'

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const SETTINGS_FILE = 'openssl.cnf'
const SETTINGS = `
[ca]
default_ca = authority
[authority]
database = issued.txt
new_certs_dir = .
unique_subject = no
rand_serial = yes
default_md = default
policy = anything
[anything]
commonName = optional
organizationName = optional
[req]
distinguished_name = none
[none]
`

const KEYS = {
  P256: ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  P384: ['EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  RSA: ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  Ed25519: ['ED25519'],
}

/** Keys, and certificates that `openssl` makes for them, in a folder that is there until `remove`. */
class Certificates {
  #folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-certificates-'))
  #count = 0

  constructor() {
    this.#write(SETTINGS_FILE, SETTINGS)
    this.#write('issued.txt', '')
  }

  /**
   * A certificate and its key, in PEM. Without `issuer` it is self-signed; without `extensions` it is of version 1, and
   * valid. `key` is a kind, or another certificate whose key it shares.
   */
  issue({
    subject = '/CN=localhost',
    issuer,
    extensions = [],
    key = 'P256',
    digest = 'default',
    from,
    until,
  } = {}) {
    const name = `${++this.#count}`
    const keyFile = typeof key === 'string' ? this.#newKey(name, KEYS[key]) : key.keyFile
    const how = { name, subject, issuer, keyFile, digest }
    if (extensions.length > 0) this.#issueVersion3({ ...how, extensions, from, until })
    else this.#issueVersion1(how)
    return { name, keyFile, cert: this.#read(`${name}.pem`), key: this.#read(keyFile) }
  }

  remove() {
    fs.rmSync(this.#folder, { recursive: true })
  }

  #issueVersion3({ name, subject, issuer, keyFile, digest, extensions, from, until }) {
    this.#openssl(
      ...['req', '-config', SETTINGS_FILE, '-new'],
      ...['-key', keyFile, '-subj', subject, '-out', `${name}.csr`],
    )
    this.#write(`${name}.ext`, extensions.join('\n'))
    this.#openssl(
      ...['ca', '-config', SETTINGS_FILE, '-batch', '-notext', '-preserveDN', '-md', digest],
      ...['-startdate', from ?? '20200101000000Z', '-enddate', until ?? '21200101000000Z'],
      ...(issuer
        ? ['-cert', `${issuer.name}.pem`, '-keyfile', issuer.keyFile]
        : ['-selfsign', '-keyfile', keyFile]),
      ...['-extfile', `${name}.ext`, '-in', `${name}.csr`, '-out', `${name}.pem`],
    )
  }

  #issueVersion1({ name, subject, issuer, keyFile, digest }) {
    this.#openssl(
      ...['req', '-config', SETTINGS_FILE, '-new', '-x509', '-days', '36500'],
      ...['-key', keyFile, '-subj', subject, '-out', `${name}.pem`],
      ...(issuer ? ['-CA', `${issuer.name}.pem`, '-CAkey', issuer.keyFile] : []),
      ...(digest === 'default' ? [] : [`-${digest}`]),
      // From OpenSSL 3.2 on it has to be asked for.
      ...(this.#openssl('req', '-help').includes('-x509v1') ? ['-x509v1'] : []),
    )
  }

  #newKey(name, [algorithm, ...option]) {
    const file = `${name}.key`
    this.#openssl('genpkey', '-algorithm', algorithm, ...option, '-out', file)
    return file
  }

  #openssl(...args) {
    const { stdout, stderr, status } = spawnSync('openssl', args, { cwd: this.#folder, encoding: 'utf8' })
    if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr}`)
    return stdout + stderr
  }

  #write(name, text) {
    fs.writeFileSync(path.join(this.#folder, name), text)
  }

  #read(name) {
    return fs.readFileSync(path.join(this.#folder, name), 'utf8')
  }
}

module.exports = { Certificates }
