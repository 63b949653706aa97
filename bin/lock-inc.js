#!/usr/bin/env node
'use strict'

// Before the rest, which an old Node.js cannot read.
try {
  require('../lib/node-version')
} catch (/** @type {any} */ error) {
  console.error(error.message)
  process.exit(70)
}
require('./main').main(process.argv.slice(2))
