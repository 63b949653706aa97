'use strict'

const { LockError, toError } = require('../errors')
const { fieldsOf, infoOf } = require('./replies')
const { Unseen } = require('./unseen')

/** Of commands with subcommands, the question is named by both. */
const WITH_SUBCOMMAND = ['ACL', 'CONFIG', 'CLUSTER', 'SENTINEL']

/** A server or a sentinel. */
class Server {
  #inquiry
  /** What was asked before, and the promises of the answers. @type {Map<string, Promise<any>>} */
  #known = new Map()
  /** Why it cannot be asked any more. @type {Error | undefined} */
  failure
  wasReached = false

  /** @param {import('../native').Inquiry} inquiry @param {string} name */
  constructor(inquiry, name) {
    this.#inquiry = inquiry
    this.name = name
  }

  /**
   * Asks one question after the other, on a connection that is for these alone. An answer may be an error reply; it rejects
   * where there is no answer, and from then on at once.
   *
   * @param {string[][]} questions
   */
  async ask(questions) {
    if (this.failure) throw this.failure
    try {
      const answers = await settled(this.#inquiry.ask(this.name, questions))
      this.wasReached = true
      return answers
    } catch (/** @type {any} */ error) {
      if (error instanceof LockError) this.failure = error
      throw error
    }
  }

  /** The answer to one question. @param {string[]} question @throws Unseen where it is an error. */
  async answer(...question) {
    const key = question.join(' ')
    if (!this.#known.has(key)) this.#known.set(key, this.#answer(question))
    return this.#known.get(key)
  }

  /** @param {string[]} question */
  async #answer(question) {
    const { answers } = await this.ask([question])
    const answer = answers[0]?.answer
    if (isError(answer)) throw new Unseen(named(question), answer)
    return answer
  }

  /** What `INFO` says, by name. */
  async info() {
    return infoOf(await this.answer('INFO'))
  }

  /** What `HELLO` says, by name. Everybody may ask that. */
  async hello() {
    return fieldsOf(await this.answer('HELLO'))
  }

  /** A setting, as `CONFIG GET` has it; `undefined`: the server knows none of this name. @param {string} name */
  async setting(name) {
    return fieldsOf(await this.answer('CONFIG', 'GET', name))[name]
  }
}

/** @param {string[]} question */
function named([command = '', subcommand = '']) {
  return WITH_SUBCOMMAND.includes(command) ? `${command} ${subcommand}` : command
}

/** @param {unknown} answer @returns {answer is { code: string, message: string }} */
function isError(answer) {
  return typeof answer === 'object' && answer !== null && !Array.isArray(answer)
}

/** @template T @param {Promise<T>} asking @returns {Promise<T>} */
async function settled(asking) {
  try {
    return await asking
  } catch (failure) {
    throw toError(failure)
  }
}

module.exports = { Server, isError, settled }
