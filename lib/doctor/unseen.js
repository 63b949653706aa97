'use strict'

/** The server has not answered a question, as it must not, or does not know the command. */
class Unseen extends Error {
  /** @param {string} question @param {{ message: string }} refusal */
  constructor(question, { message }) {
    super(`${question} was refused (${message})`)
  }
}

module.exports = { Unseen }
