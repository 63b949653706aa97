'use strict'

const { createInterface } = require('node:readline')
const { EXIT, bySignal } = require('../exit-codes')
const { party, quoted, span } = require('../text/words')
const { UsageError } = require('../usage-error')

/** @typedef {readonly import('../..').InspectedHolder[]} Holders */

/** @type {import('.').Command} */
module.exports = {
  summary: 'takes a lock from whoever holds it',
  help: `
Asks first, and names the holder. Who waits gets the lock then, and the holder is told that it is lost. What it does
to what the lock protects is not ended by that: only a store that checks fencing tokens refuses it.`,
  positionals: ['NAME'],
  options: {
    yes: { type: 'boolean', short: 'y', help: 'does not ask' },
  },
  exitCodes: {
    [EXIT.done]: 'unlocked',
    [EXIT.no]: 'nobody holds it, the answer was no, or the holder is another one meanwhile',
  },

  async run(context) {
    const [name = ''] = context.positionals
    const { yes } = context.options
    if (!yes && !(process.stdin.isTTY && process.stderr.isTTY)) {
      throw new UsageError('unlock asks first, and there is no terminal to ask at: give --yes')
    }
    const locker = context.openLocker()
    const holders = (await locker.inspect(name))?.holders ?? []
    if (holders.length === 0) return nobody(context, name)
    if (!yes) {
      const answer = await ask(`Take ${quoted(name)} from ${listed(holders)}? [y/N] `)
      if (answer === undefined) return bySignal('SIGINT')
      if (!/^y(es)?$/i.test(answer.trim())) {
        context.say('nothing was done')
        return EXIT.no
      }
      if (!isSame(holders, (await locker.inspect(name))?.holders ?? [])) {
        context.say('nothing was done: meanwhile that is not who holds it')
        return EXIT.no
      }
    }
    if (!(await locker.forceUnlock(name))) return nobody(context, name)
    context.print(`${quoted(name)} is taken from ${listed(holders)}`)
    return EXIT.done
  },
}

/** @param {import('../context').Context} context @param {string} name */
function nobody(context, name) {
  context.say(`nobody holds ${quoted(name)} under the prefix ${quoted(context.prefix)}`)
  return EXIT.no
}

/** @param {Holders} holders */
function listed(holders) {
  if (holders.length > 3) return `${holders.length} holders that share it`
  const each = holders.map((holder) => {
    const { since } = holder
    return party(holder) + (since ? `, which has held it for ${span(Date.now() - since.getTime())}` : '')
  })
  return each.join(', and from ')
}

/** By their tokens, as far as these were known. @param {Holders} before @param {Holders} now */
function isSame(before, now) {
  if (before.length !== now.length) return false
  return now.every(({ clientId, token }) =>
    before.some((one) => one.clientId === clientId && (one.token === token || one.token === null)),
  )
}

/** The answer; an empty one at the end of the input, none after Ctrl+C. @param {string} question @returns {Promise<string | undefined>} */
function ask(question) {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  return new Promise((resolve) => {
    const unanswered = (/** @type {string | undefined} */ answer) => {
      process.stderr.write('\n')
      resolve(answer)
    }
    lines.once('SIGINT', () => unanswered(undefined))
    lines.once('close', () => unanswered(''))
    lines.question(question, resolve)
  }).finally(() => {
    lines.removeAllListeners('close')
    lines.close()
  })
}
