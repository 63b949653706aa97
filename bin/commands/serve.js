'use strict'

const http = require('node:http')
const page = require('../../page')
const { EXIT } = require('../exit-codes')
const { UsageError } = require('../usage-error')
const { isForThisMachine } = require('../serve/host')
const { listen, untilSignal } = require('../serve/server')

const PORT = 4680

/** @type {import('.').Command} */
module.exports = {
  summary: 'shows who holds what as a live page for a browser on this machine',
  help: `
The page is at http://127.0.0.1:${PORT}/ until Ctrl-C. Whoever can open a connection on this machine can see it; other
machines can not. From another one: ssh -L ${PORT}:127.0.0.1:${PORT} HOST`,
  options: {
    port: {
      type: 'string',
      value: 'PORT',
      help: `where it listens; 0 for any that is free. Default: ${PORT}`,
    },
    'allow-unlock': { type: 'boolean', help: 'lets the page take locks from their holders' },
  },
  exitCodes: { [EXIT.done]: 'it was ended by Ctrl-C or SIGTERM' },

  async run(context) {
    const port = portOf(context.options.port)
    const handler = page(context.openLocker(), {
      allowUnlock: context.options['allow-unlock'] === true,
      // This process makes none.
      calls: false,
      title: context.prefix,
    })
    const server = http.createServer((request, response) => {
      if (isForThisMachine(request)) return handler(request, response)
      response.writeHead(403, { 'Content-Type': 'text/plain' })
      response.end('This page is for the browsers of this machine, by the name localhost or 127.0.0.1\n')
    })
    const url = await listen(server, port)
    context.print(url)
    await untilSignal()
    handler.close()
    await new Promise((resolve) => {
      server.close(resolve)
      server.closeAllConnections()
    })
    return EXIT.done
  },
}

/** @param {string | boolean | undefined} given */
function portOf(given) {
  if (given === undefined) return PORT
  const port = /^\d{1,5}$/.test(String(given)) ? Number(given) : Number.NaN
  if (port <= 65_535) return port
  throw new UsageError('--port must be a number from 0 to 65535')
}
