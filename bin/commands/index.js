'use strict'

const { readdirSync } = require('node:fs')
const { parse } = require('node:path')

/**
 * What a file of this folder exports: the command of its name.
 *
 * @typedef {object} Command
 * @property {string} summary What it does, in a line for the list of all commands.
 * @property {string} [help] What else is to be known, as paragraphs of the command's own help.
 * @property {readonly string[]} [positionals] What it wants, as in `['NAME']`, or may have, as in `['[GLOB]']`.
 * @property {string} [rest] What it takes after `--`, at least one word of it.
 * @property {{ [name: string]: Option }} [options] Beside those that all commands have.
 * @property {{ [code: number]: string }} exitCodes What they mean, beside those that all commands have.
 * @property {(context: import('../context').Context) => Promise<number>} run Resolves to the exit code.
 *
 * @typedef {object} Option As `util.parseArgs` has it.
 * @property {'boolean' | 'string'} type
 * @property {string} [short]
 * @property {string} [value] What help calls its value, if it has one.
 * @property {string} help
 */

/** All commands, in alphabetical order. */
const names = readdirSync(__dirname)
  .map((file) => parse(file))
  .filter(({ name, ext }) => ext === '.js' && name !== 'index')
  .map(({ name }) => name)
  .sort()

/** Loaded one by one: who asks for one shall not wait for all. @param {string} name @returns {Command} */
function load(name) {
  return require(`./${name}`)
}

module.exports = { load, names }
