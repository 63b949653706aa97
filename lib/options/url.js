'use strict'

const { URL } = require('node:url')
const { outOfRange } = require('./argument-errors')
const { config: table } = require('./table')

/** What a URL says. What it does not say is left to the other options. */
class FromUrl {
  /** @type {string | undefined} */
  path = undefined
  /** @type {string | undefined} */
  host = undefined
  /** @type {number | undefined} */
  port = undefined
  /** @type {string | undefined} */
  username = undefined
  /** @type {string | undefined} */
  password = undefined
  /** @type {number | undefined} */
  database = undefined
  tls = false
}

/** Schemes of other programs, which are named to whoever tries them. Nothing else of a URL shows up in a message. */
const OTHER_SCHEMES = ['http', 'https', 'redis-sentinel', 'redis-socket', 'tcp', 'tls', 'valkey', 'valkeys']

/**
 * `config.url`, in the forms of node_redis 2.x and of the `redis`/`rediss` URI schemes
 * (<https://www.iana.org/assignments/uri-schemes/prov/redis>).
 *
 * Errors do not quote the URL, and do not have the parser's own as a cause, as that does: it may hold a password.
 *
 * @param {string} text
 */
function parseUrl(text) {
  const read = new FromUrl()
  if (text.startsWith('/') && !text.startsWith('//')) {
    read.path = text
    return read
  }
  const url = parsed(text.startsWith('//') ? `redis:${text}` : text)
  const scheme = url.protocol.slice(0, -1)
  switch (scheme) {
    case 'unix':
    case 'redis+unix':
      read.path = pathOf(url)
      break
    case 'redis':
    case 'rediss':
      read.tls = scheme === 'rediss'
      readAuthority(url, read)
      break
    default:
      if (OTHER_SCHEMES.includes(scheme)) {
        throw problem(`has the scheme "${scheme}"; redis, rediss and unix are known`)
      }
      throw problem('has another scheme than redis, rediss and unix')
  }
  readQuery(url, read)
  return read
}

/** @param {string} text */
function parsed(text) {
  try {
    return new URL(text)
  } catch {
    throw problem('is not a URL')
  }
}

/** @param {URL} url */
function pathOf(url) {
  const path = decode(url.pathname)
  if (url.host === '' && path.startsWith('/')) return path
  throw problem('needs an absolute path and no host: unix:///path')
}

/** @param {URL} url @param {FromUrl} read */
function readAuthority(url, read) {
  if (!url.href.startsWith(`${url.protocol}//`)) {
    throw problem('needs two slashes after its scheme: redis://host')
  }
  // An IPv6 address is in brackets.
  read.host = decode(url.hostname.replace(/^\[(.*)\]$/, '$1')) || undefined
  if (url.port !== '') read.port = numberOf('port', url.port, 'names a port that is not from 1 to 65535')
  read.username = decode(url.username) || undefined
  read.password = decode(url.password) || undefined
  const path = decode(url.pathname).replace(/^\/+/, '')
  if (path !== '') read.database = databaseNumber(path)
}

/** @param {URL} url @param {FromUrl} read */
function readQuery(url, read) {
  for (const [name, value] of url.searchParams) {
    if (name === 'db') {
      const number = databaseNumber(value)
      if (read.database !== undefined && read.database !== number) {
        throw problem('names two different databases')
      }
      read.database = number
    } else if (name === 'password') {
      if (value !== '') read.password = value
    } else {
      throw problem('has an option other than db and password')
    }
  }
}

/** @param {string} text */
function databaseNumber(text) {
  return numberOf('db', text, 'names a database that is not a whole number from 0 on')
}

/**
 * A number in the range of an option.
 *
 * @param {string} name
 * @param {string} text
 * @param {string} otherwise
 */
function numberOf(name, text, otherwise) {
  const { min = 0, max = 0 } = table.known.get(name) ?? {}
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (number >= min && number <= max) return number
  throw problem(otherwise)
}

/**
 * A percent sign that begins no escape stands for itself.
 *
 * @param {string} text
 */
function decode(text) {
  try {
    return text.replace(/(?:%[\da-f]{2})+/gi, (escapes) => decodeURIComponent(escapes))
  } catch {
    throw problem('has an escape that is not UTF-8')
  }
}

/** @param {string} what */
function problem(what) {
  return outOfRange(`config.url ${what}`)
}

module.exports = { FromUrl, parseUrl }
