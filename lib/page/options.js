'use strict'

const { shown, unknownOption, wrongType } = require('../options/argument-errors')

/** What each option must be, by its name. */
const must = {
  allowUnlock: 'true, false, or a function of the request that says which',
  basePath: "a path such as '/locks'",
  calls: 'true or false',
  title: 'a string',
}

const fits = {
  allowUnlock: (value) => typeof value === 'boolean' || typeof value === 'function',
  basePath: (value) => typeof value === 'string' && /^(\/[^/?#]+)*\/?$/.test(value),
  calls: (value) => typeof value === 'boolean',
  title: (value) => typeof value === 'string',
}

/** For the message. @type {any} */
const group = { path: 'options', options: Object.keys(must).map((name) => ({ name })) }

/** The locker and the options of a page, or a `TypeError`. */
function readPage(locker, given) {
  for (const method of ['query', 'inspect', 'forceUnlock']) {
    if (typeof locker?.[method] !== 'function')
      throw wrongType(`locker must be one that lockFactory has made, got ${shown(locker)}`)
  }
  if (given !== undefined && (given === null || typeof given !== 'object'))
    throw wrongType(`options must be an object, got ${shown(given)}`)
  const read = { allowUnlock: false, basePath: '', calls: true, title: '' }
  for (const [name, value] of Object.entries(given ?? {})) {
    if (!Object.hasOwn(must, name)) throw unknownOption(group, name)
    if (value === undefined || value === null) continue
    if (!fits[name](value)) throw wrongType(`options.${name} must be ${must[name]}, got ${shown(value)}`)
    read[name] = value
  }
  return { ...read, basePath: read.basePath.replace(/\/$/, '') }
}

module.exports = { readPage }
