'use strict'

const { version } = require('../package.json')
const { nearest } = require('../lib/options/nearest')
const { shown } = require('../lib/options/argument-errors')
const { connectionOptions } = require('./arguments/connection')
const { generalOptions, helpOf, overview } = require('./arguments/help')
const { parse } = require('./arguments/parse')
const commands = require('./commands')
const { Context } = require('./context')
const { complaint } = require('./complaint')
const { EXIT } = require('./exit-codes')
const { guardOutput } = require('./output')
const { UsageError } = require('./usage-error')

/** @param {string[]} args What comes after the name of the program. */
async function main(args) {
  guardOutput()
  const [name = '', ...others] = args
  try {
    process.exitCode = await start(name, others)
  } catch (error) {
    const { text, code } = complaint(error, commands.names.includes(name) ? name : undefined)
    process.stderr.write(`lock-inc: ${text}\n`)
    process.exitCode = code
  }
}

/** @param {string} name @param {string[]} args */
async function start(name, args) {
  if (commands.names.includes(name)) return run(name, args)
  const [about = ''] = args
  switch (name) {
    case 'help':
      return print(about ? helpAbout(about) : helpOfAll())
    case '--help':
    case '-h':
      return print(helpOfAll())
    case '--version':
    case '-V':
      return print(`${version}\n`)
    case '':
      process.stderr.write(helpOfAll())
      return EXIT.usage
    default:
      throw unknown(name)
  }
}

function helpOfAll() {
  return overview(commands.names.map((name) => [name, commands.load(name).summary]))
}

/** @param {string} name */
function helpAbout(name) {
  if (commands.names.includes(name)) return helpOf(name, commands.load(name))
  throw unknown(name)
}

/** @param {string} text */
function print(text) {
  process.stdout.write(text)
  return EXIT.done
}

/** @param {string} name */
function unknown(name) {
  if (name.startsWith('-')) return new UsageError(`the command comes first, before ${shown(name)}`)
  const near = nearest(name, commands.names)
  const hint = near ? `did you mean ${near}?` : `there are ${commands.names.join(', ')}`
  return new UsageError(`there is no command ${shown(name)}; ${hint}`)
}

/** @param {string} name @param {string[]} args */
async function run(name, args) {
  const command = commands.load(name)
  const options = { ...command.options, ...connectionOptions, ...generalOptions }
  const given = parse(options, command, args)
  if (given.options.help) return print(helpOf(name, command))
  const context = new Context(given)
  try {
    return await command.run(context)
  } finally {
    await context.close()
  }
}

module.exports = { main }
