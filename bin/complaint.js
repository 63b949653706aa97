'use strict'

const { connectionOptions } = require('./arguments/connection')
const commands = require('./commands')
const { EXIT } = require('./exit-codes')
const { UsageError } = require('./usage-error')

/** What `lockFactory` and the methods of a locker throw for wrong arguments. */
const OF_ARGUMENTS = ['ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE', 'ERR_UNKNOWN_OPTION', 'ERR_PREFIX_REQUIRED']

/** Where the addon cannot be loaded. */
const OF_LOADING = /^ERR_(NODE_VERSION|PLATFORM_|ADDON_)/

/**
 * What the user is told of an error, and the exit code.
 *
 * @param {any} error
 * @param {string} [command] Whose help has more.
 * @returns {{ text: string, code: number }}
 */
function complaint(error, command) {
  const code = String(error?.code)
  const message = inWordsOfOptions(String(error?.message), command)
  if (error instanceof UsageError || OF_ARGUMENTS.includes(code)) {
    const help = command ? `lock-inc ${command} --help` : 'lock-inc --help'
    return { text: `${message}\n${help} says more`, code: EXIT.usage }
  }
  if (OF_LOADING.test(code)) return { text: `${message} (${code})`, code: EXIT.internal }
  if (code.startsWith('ERR_') && isOfTheLocker(error)) {
    return { text: `${message} (${code})`, code: EXIT.unavailable }
  }
  // A fault of this program: whoever reports it needs to know where.
  return { text: error?.stack ?? String(error), code: EXIT.internal }
}

/** @param {any} error */
function isOfTheLocker(error) {
  return error instanceof require('..').LockError && error.code !== 'ERR_INTERNAL'
}

/**
 * The locker speaks of `config.sentinels`; the command line has `--sentinels`, and passwords in its environment.
 *
 * @param {string} message
 * @param {string} [command]
 */
function inWordsOfOptions(message, command) {
  const options = { ...connectionOptions, ...(command && commands.load(command).options) }
  return message.replace(/\b(?:config|settings|options)\.(\w+)/g, (whole, name) => {
    if (name === 'password') return 'LOCK_INC_PASSWORD'
    if (name === 'sentinelPassword') return 'LOCK_INC_SENTINEL_PASSWORD'
    const spelled = name.replace(/[A-Z]/g, (/** @type {string} */ letter) => `-${letter.toLowerCase()}`)
    return Object.hasOwn(options, spelled) ? `--${spelled}` : whole
  })
}

module.exports = { complaint }
