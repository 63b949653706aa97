'use strict'

// A webhook whose events are handled once, though each may be delivered several times, to several processes, or again
// after a failure.
//
// REDIS_URL=redis://localhost:6379 PORT=3000 node examples/webhook.js
// curl localhost:3000 --json '{ "id": "evt_1", "amount": 5 }'

const { createServer } = require('node:http')
const { json } = require('node:stream/consumers')
const Redis = require('ioredis')
const lockFactory = require('lock-inc')

const { ResourceLockedError } = lockFactory
const url = process.env.REDIS_URL ?? 'redis://localhost:6379'
const locker = lockFactory({ driver: 'redis', config: { url }, settings: { prefix: 'example:lock:' } })
/** Any store would do. */
const store = new Redis(url)

/** Handles an event, unless that has been done. Who comes meanwhile waits, and then finds it done. */
function handleOnce(id, handle) {
  return locker.request(`event:${id}`, { expire: '30s', timeout: '10s' }, async ({ token }) => {
    if (await store.exists(`example:done:${id}`)) return 'was handled before'
    await handle(token)
    await store.set(`example:done:${id}`, token, 'EX', 7 * 24 * 3600)
    return 'handled'
  })
}

const server = createServer(async (request, response) => {
  try {
    const { id, amount } = await json(request)
    const outcome = await handleOnce(id, () => store.incrby('example:balance', amount))
    response.end(`${outcome}\n`)
  } catch (error) {
    // Not 2xx: whoever delivers comes again.
    if (error instanceof ResourceLockedError)
      response.setHeader('Retry-After', Math.ceil(error.leaseLeft / 1000))
    response.statusCode = error instanceof ResourceLockedError ? 503 : 500
    response.end(`${error.message}\n`)
  }
})
server.listen(process.env.PORT ?? 3000, () => console.log(`listening on ${server.address().port}`))

process.once('SIGTERM', async () => {
  await new Promise((resolve) => server.close(resolve))
  await Promise.all([locker.close(), store.quit()])
})
