'use strict'

const { channel } = require('node:diagnostics_channel')

/** What can be subscribed to: `require('node:diagnostics_channel').subscribe('lock-inc:lost', ...)`. */
const channels = {}
for (const name of ['acquire', 'contended', 'release', 'renew', 'lost', 'reconnect']) {
  channels[name] = channel(`lock-inc:${name}`)
}

module.exports = channels
