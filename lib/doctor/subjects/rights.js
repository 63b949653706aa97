'use strict'

const { randomUUID } = require('node:crypto')
const { hash } = require('../../hash')
const { needs, rights, WRITES } = require('../rights')
const { isError } = require('../server')

/** What the user of the locker may do. */
const subject = {
  name: 'rights',
  findings: {
    all: { level: 'ok' },
    missing: {
      level: 'problem',
      means: 'Calls that need it reject with ERR_REDIS_NOPERM.',
    },
    useful: {
      level: 'warning',
      means: 'Locks work without it, but not all that there is to them.',
    },
    spare: {
      level: 'note',
      means: 'Locks work without it just as well; it spares the server some work, or an entry in ACL LOG.',
    },
  },

  /** @param {import('../server').Server} server @param {any} tell @param {any} scene */
  async examine(server, tell, { prefix, redis }) {
    const names = namesOf(prefix, redis)
    const wanted = rights.filter(({ need }) => isNeeded(need, redis))
    const refused = await tried(server, wanted, names)
    if (refused.size === 0)
      return tell('all', `The user may run all ${wanted.length} commands that locks need`)
    const user = await userOf(server, redis)
    for (const level of ['missing', 'useful', 'spare']) {
      const of = wanted.filter((right) => refused.has(right) && needs[right.need].level === level)
      if (of.length === 0) continue
      const purposes = [...new Set(of.map(({ need }) => needs[need].for))].join('; ')
      const what = [...new Set(of.flatMap((right) => refused.get(right)?.(names, right) ?? []))]
      tell(level, `The user ${user} has not got ${what.join(' ')}, for ${purposes}`, {
        todo: `ACL SETUSER ${user} ${what.join(' ')}`,
      })
    }
  },
}

/** @param {import('../rights').Need} need @param {any} redis */
function isNeeded(need, { database, nodes, replicas }) {
  if (need === 'database') return database !== 0
  if (need === 'cluster') return nodes !== undefined
  if (need === 'replicas') return replicas > 0
  return true
}

/** @param {string} prefix @param {any} redis @returns {import('../rights').Names & { keys: string, channels: string }} */
function namesOf(prefix, { keyPrefix, nodes, database }) {
  const all = keyPrefix + prefix
  const client = nodes && !/\{[^}]+\}/.test(all) ? '{client}' : 'client'
  return {
    // As the key of a lock.
    key: all + hash(`lock-inc doctor ${randomUUID()}`),
    channel: `${all}${client}:doctor`,
    database,
    keys: `~${escaped(all)}*`,
    channels: `&${escaped(all)}${client}:*`,
  }
}

/** As patterns have it. @param {string} text */
function escaped(text) {
  return text.replace(/[*?[\]\\^-]/g, '\\$&')
}

/** What names the rules that would allow something that was refused. @typedef {(names: any, right: import('../rights').Right) => string[]} Remedy */

/**
 * Has the server say what it would allow, if the user may ask that; else each command is carried out.
 *
 * @param {import('../server').Server} server @param {import('../rights').Right[]} wanted @param {any} names
 * @returns {Promise<Map<import('../rights').Right, Remedy>>} Those that are refused.
 */
async function tried(server, wanted, names) {
  const trials = wanted.flatMap((right) => {
    const trial = right.trial(names)
    return trial ? [{ right, trial }] : []
  })
  const said = (await dryRun(server, trials)) ?? (await trial(server, trials))
  const { isSubscribed } = await server.ask([])
  const refused = new Map(said.flatMap(({ right, text }) => (text ? [[right, remedyFor(text)]] : [])))
  const subscribe = wanted.find(({ rule }) => rule === 'subscribe')
  if (subscribe && !isSubscribed) refused.set(subscribe, ({ channels }) => ['+subscribe', channels])
  return refused
}

/** @typedef {{ right: import('../rights').Right, trial: string[] }} Trial */

/** From Redis 7 on. @param {import('../server').Server} server @param {Trial[]} trials */
async function dryRun(server, trials) {
  const user = await whoAmI(server)
  if (user === undefined) return undefined
  const { answers } = await server.ask(trials.map(({ trial }) => ['ACL', 'DRYRUN', user, ...trial]))
  if (answers.some(({ answer }) => isError(answer))) return undefined
  return trials.map(({ right }, index) => {
    const answer = String(answers[index]?.answer)
    return { right, text: answer === 'OK' ? undefined : answer }
  })
}

/** @param {import('../server').Server} server @param {Trial[]} trials */
async function trial(server, trials) {
  const isWrite = ({ right }) => WRITES.includes(right.rule)
  const { answers } = await server.ask(trials.filter((one) => !isWrite(one)).map(({ trial }) => trial))
  const said = trials
    .filter((one) => !isWrite(one))
    .map(({ right }, index) => ({ right, text: refusalIn(answers[index]?.answer) }))
  const set = said.find(({ right }) => right.rule === 'set')
  // Without SET they might leave something behind; and it says enough.
  if (set?.text) return said
  const writes = trials.filter(isWrite)
  const begin = /** @type {string[]} */ (trials.find(({ right }) => right === set?.right)?.trial)
  const end = /** @type {string[]} */ (trials.find(({ right }) => right.rule === 'del')?.trial)
  const more = await server.ask([begin, ...writes.map(({ trial }) => trial), end])
  return [
    ...said,
    ...writes.map(({ right }, index) => ({ right, text: refusalIn(more.answers[index + 1]?.answer) })),
  ]
}

/** What a server says of a right that is missing. Whatever else it says comes behind that. @param {any} answer */
function refusalIn(answer) {
  return isError(answer) && answer.code === 'NOPERM' ? answer.message : undefined
}

/** @param {string} text @returns {Remedy} */
function remedyFor(text) {
  if (/run the '/.test(text)) return (_, { rule }) => [`+${rule}`]
  if (/channel/.test(text)) return ({ channels }) => [channels]
  return ({ keys }) => [keys]
}

/** @param {import('../server').Server} server */
async function whoAmI(server) {
  const { answers } = await server.ask([['ACL', 'WHOAMI']])
  const answer = answers[0]?.answer
  return typeof answer === 'string' ? answer : undefined
}

/** @param {import('../server').Server} server @param {any} redis */
async function userOf(server, { username, password }) {
  return (await whoAmI(server)) ?? (password === undefined ? 'default' : (username ?? 'default'))
}

module.exports = subject
