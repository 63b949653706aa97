'use strict'

const { release, versions } = process

/**
 * Whether this is Node.js, or Electron, which has it inside: its event loop can watch sockets for us. Bun and Deno call
 * themselves Node.js, but what they have of its event loop aborts when it is called.
 */
const isNode = release?.name === 'node' && versions.bun === undefined && versions.deno === undefined

module.exports = { isNode }
