'use strict'

// A Fastify server that shuts down in order: requests that hold a lock finish their work, those that wait for one are
// turned away, and every lock is given up before the process ends.
//
// REDIS_URL=redis://localhost:6379 PORT=3000 node examples/fastify.js
// curl -X POST 'localhost:3000/report?ms=5000'

const { setTimeout: sleep } = require('node:timers/promises')
const fastify = require('fastify')
const lockFactory = require('lock-inc')

const { ResourceLockedError } = lockFactory
const locker = lockFactory({
  driver: 'redis',
  config: { url: process.env.REDIS_URL },
  settings: { prefix: 'example:' },
})
const stopping = new AbortController()
const app = fastify()

app.post('/report', (request) => {
  const options = { timeout: '30s', signal: stopping.signal }
  return locker.request('report', options, ({ token }) => makeReport(token, Number(request.query.ms ?? 0)))
})

app.setErrorHandler((error, _request, reply) => {
  if (error instanceof ResourceLockedError) {
    reply.code(503).header('Retry-After', Math.ceil(error.leaseLeft / 1000))
    return { error: error.message }
  }
  if (stopping.signal.aborted) return reply.code(503).send({ error: 'The server is shutting down' })
  throw error
})

// In this order: nobody waits any more, what runs ends (Fastify sees to that), the locker is closed.
app.addHook('preClose', async () => stopping.abort())
app.addHook('onClose', () => locker.close())
process.once('SIGTERM', () => app.close())

// Else the connection of a request that ends meanwhile stays open, and the server waits for it.
app.addHook('onSend', async (_request, reply) => {
  if (stopping.signal.aborted) reply.header('Connection', 'close')
})

async function makeReport(token, ms) {
  await sleep(ms)
  return { token }
}

app
  .listen({ port: Number(process.env.PORT ?? 3000) })
  .then(() => console.log(`listening on ${app.server.address().port}`))
