'use strict'

const { EXIT } = require('../exit-codes')
const { nextOfHolder, nextOfWaiters } = require('../locks/next-steps')
const { table } = require('../text/table')
const { plain, quoted, span } = require('../text/words')

/** @type {import('.').Command} */
module.exports = {
  summary: 'shows one lock in full, with its queue',
  help: `
Of a lock of lock-inc 1.2.0 nothing is known but its lease; of others, for their first 0.1 s, neither the token nor
since when they are held. These times are by the clock of Redis, and are compared with that of this machine.`,
  positionals: ['NAME'],
  options: {
    json: {
      type: 'boolean',
      help: 'as JSON: { name, holders, waiters, count }, of what locker.inspect() tells',
    },
  },
  exitCodes: {
    [EXIT.done]: 'somebody holds it or waits for it',
    [EXIT.no]: 'nobody does',
  },

  async run(context) {
    const [name = ''] = context.positionals
    const found = await context.openLocker().inspect(name)
    const code = found ? EXIT.done : EXIT.no
    const { holders, waiters, count } = found ?? { holders: [], waiters: [], count: 0 }
    if (context.options.json) {
      context.printJson({ name, holders, waiters, count })
      return code
    }
    const heading = context.paint.bold(plain(name))
    if (!found) {
      context.print(
        `${heading}: nobody holds it, and nobody waits for it, under the prefix ${quoted(context.prefix)}`,
      )
      return code
    }
    context.print(
      `${heading}: ${counted(holders.length, 'holder')}, ${waiters.length} waiting, ${counted(count, 'attempt')} since it was taken`,
    )
    if (holders.length > 0) {
      context.print()
      context.printAll(table(ofHolders(context.paint), holders, context.room))
    }
    if (waiters.length > 0) {
      const next = nextOfWaiters(found)
      const queue = waiters.map((waiter, index) => ({ ...waiter, place: index + 1, next: next[index] ?? '' }))
      context.print()
      context.printAll(table(ofWaiters(context.paint), queue, context.room))
    }
    return code
  },
}

/** @param {number} number @param {string} what */
function counted(number, what) {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}

/** @param {Date | null} since */
function age(since) {
  return since ? span(Date.now() - since.getTime()) : '?'
}

/** @param {import('../text/paint').Paint} paint @returns {import('../text/table').Column<import('../..').InspectedHolder>[]} */
function ofHolders(paint) {
  return [
    { title: 'HOLDER', cell: ({ host }) => (host === null ? 'lock-inc 1.2.0' : plain(host)), least: 8 },
    { title: 'PID', cell: ({ pid }) => String(pid ?? '?'), right: true },
    { title: 'CLIENT', cell: ({ clientId }) => clientId ?? '?' },
    { title: 'MODE', cell: ({ mode }) => mode },
    { title: 'HELD', cell: ({ since }) => age(since), right: true },
    { title: 'TOKEN', cell: ({ token }) => String(token ?? '?'), right: true },
    { title: 'NEXT', cell: nextOfHolder, painted: paint.cyan },
  ]
}

/** @param {import('../text/paint').Paint} paint @returns {import('../text/table').Column<import('../..').Waiter & { place: number, next: string }>[]} */
function ofWaiters(paint) {
  return [
    { title: '#', cell: ({ place }) => String(place), right: true },
    { title: 'WAITER', cell: ({ host }) => plain(host), least: 8 },
    { title: 'PID', cell: ({ pid }) => String(pid), right: true },
    { title: 'CLIENT', cell: ({ clientId }) => clientId },
    { title: 'MODE', cell: ({ mode }) => mode },
    { title: 'WAITS', cell: ({ since }) => age(since), right: true },
    { title: 'NEXT', cell: ({ next }) => next, painted: paint.cyan },
  ]
}
