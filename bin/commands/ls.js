'use strict'

const { orderOf } = require('../arguments/order')
const { EXIT } = require('../exit-codes')
const { columns, filtered, orders, rowsOf } = require('../locks/rows')
const { glob } = require('../text/glob')
const { table } = require('../text/table')
const { quoted } = require('../text/words')

/** @type {import('.').Command} */
module.exports = {
  summary: 'lists who holds and who waits',
  help: `
GLOB is a pattern for names, with the signs * ? [abc] [^a] and \\ as for KEYS of Redis. There is a line for each
holder, or for a name that nobody holds and somebody waits for.

Of each name the first 256 bytes are known. A lock is listed when it has lasted for some 0.1 s. Locks of lock-inc
1.2.0 are not listed, as Redis has only hashes of their names: lock-inc show NAME finds them.`,
  positionals: ['[GLOB]'],
  options: {
    sort: { type: 'string', value: 'KEY', help: `${Object.keys(orders).join(', ')}. Default: name` },
    json: { type: 'boolean', help: 'as JSON: { held, pending }, of what locker.query() tells' },
  },
  exitCodes: { [EXIT.done]: 'listed, be it nothing' },

  async run(context) {
    const [pattern = '*'] = context.positionals
    const order = orderOf(context.options)
    const snapshot = filtered(await context.openLocker().query(), glob(pattern))
    if (context.options.json) {
      context.printJson(snapshot)
      return EXIT.done
    }
    const rows = rowsOf(snapshot, order)
    if (rows.length > 0) context.printAll(table(columns(context.paint), rows, context.room))
    else if (process.stdout.isTTY) {
      const what = pattern === '*' ? 'Nothing' : `Nothing like ${quoted(pattern)}`
      context.say(`${what} is held or waited for under the prefix ${quoted(context.prefix)}`)
    }
    return EXIT.done
  },
}
