'use strict'

const { createHash } = require('node:crypto')
const { script, style } = require('./built')

const hashOf = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

const policy = [
  "default-src 'none'",
  `script-src ${hashOf(script)}`,
  `style-src ${hashOf(style)}`,
  "connect-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  // Nothing is ever made of a string that could be HTML.
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

/** Of every answer. Names of locks are nobody else's business, so nothing is kept and no other site may look. */
const headers = {
  'Cache-Control': 'no-store, no-transform',
  'Content-Security-Policy': policy,
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
}

/**
 * Whether a request comes from the page itself, as far as its browser says. No page can set these two headers: the first
 * one is sent over HTTPS and to localhost, the second one with every POST.
 */
function isOwn({ headers, method }) {
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site === 'same-origin'
  const { origin } = headers
  if (origin === undefined) return method !== 'POST'
  return URL.canParse(origin) && new URL(origin).host === headers.host
}

module.exports = { headers, isOwn }
