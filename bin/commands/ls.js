'use strict'

const { EXIT } = require('../exit-codes')

/** @type {import('.').Command} */
module.exports = {
  summary: 'lists who holds and who waits',
  positionals: ['[GLOB]'],
  options: {
    json: { type: 'boolean', help: 'as JSON: { held, pending }' },
  },
  exitCodes: { [EXIT.done]: 'listed, be it nothing' },

  async run(context) {
    const snapshot = await context.openLocker().query()
    context.print(JSON.stringify(snapshot, null, 2))
    return EXIT.done
  },
}
