'use strict'

const { LockError } = require('../../errors')
const { fieldsOf } = require('../replies')
const { isError } = require('../server')
const { count } = require('../words')

/** In milliseconds: a server that is silent for so long is taken for dead soon enough. */
const DOWN_AFTER = 5000

/** Those who say where the primary is, and who takes its place. */
const subject = {
  name: 'sentinels',
  findings: {
    agree: { level: 'ok' },
    away: {
      level: 'warning',
      means: 'It has no voice when a primary fails.',
      todo: 'Bring it back, or take it out of config.sentinels.',
    },
    minority: {
      level: 'problem',
      means:
        'Without more than half of them there is no failover: if the primary fails, locks wait until it is back.',
      todo: 'Bring back those that are away.',
    },
    unaware: {
      level: 'problem',
      means: 'It watches over other groups, and has no voice in this one.',
      todo: 'Check config.name, or have it SENTINEL MONITOR the group.',
    },
    disagree: {
      level: 'problem',
      means:
        'During a failover that is so for a moment. If it stays so, lockers may be at different servers, and two hold one lock.',
      todo: 'Ask again; SENTINEL RESET on those that know less, if it stays so.',
    },
    few: {
      level: 'warning',
      means:
        'The loss of one of them, or of the machine that it shares with the primary, leaves nobody to decide.',
      todo: 'Three or more, on machines that fail apart from each other.',
    },
    quorum: {
      level: 'problem',
      means: 'So many never agree that the primary is down: there is no failover.',
      todo: 'SENTINEL SET the quorum to more than half of the sentinels.',
    },
    low: {
      level: 'note',
      means:
        'A minority of them begins failovers. More than half have to vote for the new primary in any case.',
      todo: 'A quorum of more than half.',
    },
    alone: {
      level: 'warning',
      means: 'No server can take the place of the primary: if it fails, locks wait until it is back.',
      todo: 'Bring the replicas back; one of them needs a replica-priority other than 0.',
    },
    slow: {
      level: 'note',
      means:
        'A failover takes that long and a second or two more. Calls with a shorter deadline (settings.commandTimeout) reject meanwhile, and leases that are shorter than twice that and 5 s are lost.',
      todo: 'down-after-milliseconds of 2000 to 5000.',
    },
  },

  /** @param {unknown} _ @param {any} tell @param {any} scene */
  async examine(_, tell, { inquiry, redis: { sentinel } }) {
    if (!sentinel) return
    const sentinels = inquiry.sentinels()
    const asked = await Promise.all(sentinels.map((/** @type {any} */ one) => view(one, sentinel.name)))
    for (const { error } of asked) if (error) tell('away', error)
    const present = asked.filter(({ error }) => !error)
    for (const { name, primary } of present) {
      if (primary === null) tell('unaware', `${name} knows no group '${sentinel.name}'`)
    }
    const voices = present.filter(({ primary }) => primary)
    if (voices.length * 2 <= sentinels.length) {
      tell(
        'minority',
        `${voices.length} of ${count(sentinels.length, 'sentinel')} can be asked about '${sentinel.name}'`,
      )
    }
    if (sentinels.length < 3)
      tell('few', `There ${sentinels.length === 1 ? 'is' : 'are'} ${count(sentinels.length, 'sentinel')}`)
    const primaries = [...new Set(voices.map(({ primary }) => primary))]
    if (primaries.length > 1) tell('disagree', `The sentinels name ${primaries.join(' and ')}`)
    if (primaries.length === 1 && voices.length === sentinels.length) {
      tell('agree', `${count(voices.length, 'sentinel')}, all of which name ${primaries[0]}`)
    }
    tellOfSettings(voices, sentinels.length, tell)
  },
}

/** The answers of one sentinel. @param {any} sentinel @param {string} group */
async function view(sentinel, group) {
  const { name } = sentinel
  try {
    const questions = ['GET-MASTER-ADDR-BY-NAME', 'MASTER', 'REPLICAS']
    const { answers } = await sentinel.ask(questions.map((what) => ['SENTINEL', what, group]))
    const [address, settings, replicas] = answers.map((/** @type {any} */ { answer }) => answer)
    if (isError(address))
      return { name, error: `${name} has refused to say where the primary is (${address.message})` }
    return { name, primary: address?.join(':') ?? null, settings, replicas }
  } catch (error) {
    if (!(error instanceof LockError)) throw error
    return { name, error: error.message }
  }
}

/** @param {any[]} voices @param {number} number @param {any} tell */
function tellOfSettings(voices, number, tell) {
  const refused = voices.find(({ settings, replicas }) => isError(settings) || isError(replicas))
  if (refused) {
    const { message } = isError(refused.settings) ? refused.settings : refused.replicas
    tell.unseen({ message: `${refused.name} has refused to tell of the group (${message})` })
  }
  const all = voices.filter(({ settings }) => Array.isArray(settings))
  const settings = all.map(({ settings }) => fieldsOf(settings))
  const quorum = Math.max(0, ...settings.map(({ quorum }) => Number(quorum)))
  if (quorum > number) tell('quorum', `The quorum is ${quorum}, of ${count(number, 'sentinel')}`)
  else if (quorum > 0 && quorum * 2 <= number)
    tell('low', `The quorum is ${quorum}, of ${count(number, 'sentinel')}`)
  const silence = Math.max(0, ...settings.map((one) => Number(one['down-after-milliseconds'])))
  if (silence > DOWN_AFTER) tell('slow', `down-after-milliseconds is ${silence}`)
  const replicas = voices.filter(({ replicas }) => Array.isArray(replicas))
  if (replicas.length > 0 && replicas.every(({ replicas }) => !replicas.map(fieldsOf).some(isHeir))) {
    tell('alone', 'The sentinels know no replica that could become the primary')
  }
}

/** @param {{ [name: string]: string }} replica */
function isHeir({ flags, 'slave-priority': priority, 'master-link-status': link }) {
  return flags === 'slave' && priority !== '0' && link === 'ok'
}

module.exports = subject
