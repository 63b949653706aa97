'use strict'

const http = require('node:http')
const { until } = require('./until')

/** A server for a test, which is closed at its end. `listener`: what http.createServer takes. */
function servers() {
  const opened = []

  afterEach(() => Promise.all(opened.splice(0).map((server) => server.stop())))

  return async function serve(listener, port) {
    const server = http.createServer(listener)
    await new Promise((resolve) => server.listen(port ?? 0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${server.address().port}`
    const stop = () =>
      new Promise((resolve) => {
        server.close(resolve)
        server.closeAllConnections()
      })
    opened.push({ stop })
    return { server, url, stop }
  }
}

/** What is asked over HTTP: status, headers, text, and what that is as JSON, if it is. Any header may be set. */
function ask(url, { method = 'GET', headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent: false }, async (response) => {
      let text = ''
      for await (const part of response.setEncoding('utf8')) text += part
      const isJson = response.headers['content-type'] === 'application/json'
      resolve({
        status: response.statusCode,
        headers: response.headers,
        text,
        json: isJson ? JSON.parse(text) : undefined,
      })
    })
    request.on('error', reject)
    request.end()
  })
}

/** Reads server-sent events. What has come is in `events`, as `{ event, data }`; `entries` is what is listed by now. */
function watch(url, headers = {}) {
  const events = []
  const entries = new Map()
  const watching = { events, entries, status: undefined, isEnded: false }
  const hear = (block) => {
    const [event, data] = block.match(/^event: (.*)\ndata: (.*)$/).slice(1)
    const told = { event, data: JSON.parse(data) }
    events.push(told)
    if (event === 'all') entries.clear()
    for (const id of told.data.gone ?? []) entries.delete(id)
    for (const entry of told.data.put ?? []) entries.set(entry.id, entry)
  }
  const request = http.request(url, { headers, agent: false }, (response) => {
    watching.status = response.statusCode
    let rest = ''
    response.setEncoding('utf8').on('data', (part) => {
      const blocks = (rest + part).split('\n\n')
      rest = blocks.pop()
      blocks.forEach(hear)
    })
    response.on('close', () => {
      watching.isEnded = true
    })
  })
  // It is destroyed at the end, by either side.
  request.on('error', () => {
    watching.isEnded = true
  })
  request.end()
  watching.close = () => request.destroy()
  watching.heard = (event) =>
    until(() => events.find((one) => one.event === event)?.data, `an event ${event} comes`)
  watching.lists = (...names) =>
    until(
      () => String([...entries.values()].map(({ name }) => name).sort()) === String(names.sort()),
      `${names} are listed`,
    )
  return watching
}

module.exports = { ask, servers, watch }
