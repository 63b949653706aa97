'use strict'

const { engines } = require('../package.json')

// The first that is read, and written so that any Node.js reads it: an old one takes the rest for errors of syntax.
const needed = engines.node.replace('>=', '')
const found = process.versions.node
if (Number.parseInt(found, 10) < Number.parseInt(needed, 10)) {
  const message = `lock-inc needs Node.js ${needed} or newer, and this is ${found}`
  throw Object.assign(new Error(message), { code: 'ERR_NODE_VERSION' })
}
