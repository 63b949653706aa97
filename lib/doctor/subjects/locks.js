'use strict'

const { randomUUID } = require('node:crypto')
const { setTimeout } = require('node:timers/promises')
const { LockError } = require('../../errors')
const { now } = require('../../native')
const { milliseconds } = require('../words')

/** A hand-over that takes longer was found by asking, in milliseconds. */
const TOLD = 1000

/** Between two looks at the queue. */
const PAUSE = 10

/** A lock, taken and handed over as anybody would. */
const subject = {
  name: 'locks',
  findings: {
    work: { level: 'ok' },
    refused: {
      level: 'problem',
      means: 'So it goes for everybody who takes locks here.',
      todo: 'See the other findings, and what the message says.',
    },
    slow: {
      level: 'warning',
      means:
        'Whoever waits is not told of its turn, and has to ask: a lock that is given up stays unused until then.',
      todo: 'See the findings about messages, rights and speed.',
    },
  },

  /** @param {import('../server').Server[]} servers @param {any} tell @param {any} scene */
  async examine(servers, tell, { openLocker }) {
    // What it is that stands in the way has been told.
    if (servers.length === 0 || servers.some(({ failure }) => failure)) return
    if (!(await isPrimary(servers))) return
    try {
      const { taking, handing } = await handOver(openLocker(), openLocker())
      const found = `A lock was taken in ${milliseconds(taking)}, and handed over to another locker in ${milliseconds(handing)}`
      tell(handing > TOLD ? 'slow' : 'work', found)
    } catch (error) {
      if (!(error instanceof LockError)) throw error
      tell('refused', error.message, { error: error.code })
    }
  },
}

/** A replica would have calls wait until their deadlines. @param {import('../server').Server[]} servers */
async function isPrimary(servers) {
  const greetings = await Promise.all(servers.map((server) => server.hello()))
  return greetings.every(({ role, mode }) => role === 'master' && mode !== 'sentinel')
}

/** @param {import('../../..').Locker} holder @param {import('../../..').Locker} waiter */
async function handOver(holder, waiter) {
  const name = `lock-inc doctor ${randomUUID()}`
  // Else connecting would count.
  await Promise.all([holder.isLocked(name), waiter.isLocked(name)])
  const start = now()
  const lock = await holder.lock(name, { expire: 30 })
  const taking = now() - start
  const handed = waiter.lock(name, { expire: 30, timeout: '10s' }).then((lock) => ({ lock, at: now() }))
  // Whoever fails before is told of below.
  handed.catch(() => {})
  let unlocking = now()
  try {
    while (!(await holder.inspect(name))?.waiters.length) await Promise.race([setTimeout(PAUSE), handed])
  } finally {
    unlocking = now()
    await lock.unlock()
  }
  const { lock: next, at } = await handed
  await next.unlock()
  return { taking, handing: at - unlocking }
}

module.exports = subject
