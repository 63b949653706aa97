'use strict'

const { COMMON } = require('../exit-codes')
const { connectionOptions, environment } = require('./connection')

/** @type {{ [name: string]: import('../commands').Option }} */
const generalOptions = {
  help: { type: 'boolean', short: 'h', help: 'says this' },
}

/** What is said of all commands together. @param {[name: string, summary: string][]} commands */
function overview(commands) {
  return paragraphs(
    'Usage: lock-inc COMMAND [options]',
    'Distributed locks on Redis: takes them, shows them, and gets rid of them.',
    list('Commands', commands),
    "lock-inc COMMAND --help has the options and exit codes of each; lock-inc --version says which one this is.\nWhere Redis is, is said by --url or LOCK_INC_URL or REDIS_URL; else it's 127.0.0.1:6379.",
  )
}

/** @param {string} name @param {import('../commands').Command} command */
function helpOf(name, { summary, help, options = {}, exitCodes, ...command }) {
  return paragraphs(
    usage(name, command),
    `${summary[0]?.toUpperCase()}${summary.slice(1)}.${help ? `\n\n${help.trim()}` : ''}`,
    list('Options', described({ ...options, ...generalOptions })),
    list('Connection', described(connectionOptions)),
    list('Environment', Object.entries(environment)),
    list('Exit codes', Object.entries({ ...exitCodes, ...COMMON })),
  )
}

/** @param {string} name @param {Pick<import('../commands').Command, 'positionals' | 'rest'>} command */
function usage(name, { positionals = [], rest }) {
  const words = ['Usage: lock-inc', name, ...positionals, '[options]']
  return [...words, ...(rest ? ['--', rest] : [])].join(' ')
}

/** @param {{ [name: string]: import('../commands').Option }} options @returns {[string, string][]} */
function described(options) {
  return Object.entries(options).map(([name, { short, value, help }]) => {
    const spelled = `${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`
    return [spelled, help]
  })
}

/** @param {string} title @param {[string, string][]} entries */
function list(title, entries) {
  const width = Math.min(26, Math.max(...entries.map(([name]) => name.length)))
  const lines = entries.map(([name, text]) => {
    const gap = name.length > width ? `\n${' '.repeat(width + 4)}` : ' '.repeat(width - name.length + 2)
    return `  ${name}${gap}${text.replaceAll('\n', `\n${' '.repeat(width + 4)}`)}`
  })
  return `${title}:\n${lines.join('\n')}`
}

/** @param {string[]} texts */
function paragraphs(...texts) {
  return `${texts.join('\n\n')}\n`
}

module.exports = { generalOptions, helpOf, overview }
