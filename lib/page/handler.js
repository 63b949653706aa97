'use strict'

const os = require('node:os')
const { addressOf } = require('./address')
const { answer, json, refuse } = require('./answers')
const { html, icon } = require('./built')
const { Feed } = require('./feed')
const { Force } = require('./force')
const { Inspections } = require('./inspections')
const { readPage } = require('./options')
const { headers, isOwn } = require('./protection')
const { BOUNDS, Rates } = require('./rates')
const { Refusal } = require('./refusal')
const { Viewer } = require('./viewer')

/** Makes the handler of a page. */
function createPage(locker, options) {
  const { allowUnlock, basePath, calls, title } = readPage(locker, options)
  const rates = calls ? new Rates() : undefined
  const feed = new Feed(locker, rates)
  const force = new Force(locker, allowUnlock)
  const inspections = new Inspections(locker)
  const hello = {
    title,
    process: calls ? { host: os.hostname(), pid: process.pid, bounds: BOUNDS } : null,
  }
  let isClosed = false

  async function watch(request, response) {
    const token = await force.tokenFor(request)
    if (isClosed) throw new Refusal(503, 'ERR_PAGE_CLOSED', 'The page is closed')
    // The second one is for nginx, which else holds back what comes.
    response.writeHead(200, { ...headers, 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' })
    const viewer = new Viewer(response)
    viewer.send('hello', JSON.stringify({ ...hello, token }))
    response.once('close', () => feed.remove(viewer))
    if (!response.destroyed) feed.add(viewer)
  }

  async function inspect(_request, response, query) {
    json(response, 200, await inspections.of(query.get('name')))
  }

  async function unlock(request, response, query) {
    const name = query.get('name')
    const unlocked = await force.unlock(request, name, query.get('holders'))
    inspections.forget(name)
    json(response, 200, { unlocked })
  }

  const routes = {
    '/': { method: 'GET', respond: (_, response) => answer(response, 200, 'text/html; charset=utf-8', html) },
    '/icon.svg': { method: 'GET', respond: (_, response) => answer(response, 200, 'image/svg+xml', icon) },
    '/events': { method: 'GET', isPrivate: true, respond: watch },
    '/inspect': { method: 'GET', isPrivate: true, respond: inspect },
    '/unlock': { method: 'POST', isPrivate: true, respond: unlock },
  }

  /** `next`: of Express and its like, which go on with what is not ours. */
  async function handler(request, response, next) {
    const { path, query } = addressOf(request, basePath)
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined
    if (route === undefined && typeof next === 'function') return next()
    try {
      check(route, request)
      await route.respond(request, response, query)
    } catch (error) {
      refuse(response, error, next)
    }
  }

  /** Ends what is streamed, so that the server can end; counts no more. */
  handler.close = () => {
    isClosed = true
    feed.close()
    rates?.close()
  }
  return handler
}

/** Refuses what is not to be answered, whatever it says. */
function check(route, request) {
  if (route === undefined) throw new Refusal(404, 'ERR_PAGE_NOT_FOUND', 'There is nothing here')
  if (request.method !== route.method && (request.method !== 'HEAD' || route.isPrivate))
    throw new Refusal(405, 'ERR_PAGE_METHOD', `This is asked for by ${route.method}`)
  if (route.isPrivate && !isOwn(request))
    throw new Refusal(403, 'ERR_PAGE_FORBIDDEN', 'Only the page itself may ask for this, and no other site')
}

module.exports = { createPage }
