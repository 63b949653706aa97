'use strict'

const { checkObject } = require('./checks')
const { unknownOption } = require('./argument-errors')

/**
 * Reads an object of options: each of its own properties once, and nothing that it has from a prototype. `undefined` and
 * `null` mean that nothing was said.
 *
 * @template {object} Read
 * @param {import('./table').Group} group
 * @param {unknown} given
 * @param {Read} read Gets what is read.
 * @returns {Read}
 */
function readOptions(group, given, read) {
  const values = checkObject(group.path, given)
  const into = /** @type {any} */ (read)
  for (const name of Object.getOwnPropertyNames(values)) {
    const option = group.known.get(name)
    if (option === undefined) {
      // What is hidden is not meant for us: some libraries mark objects like that.
      if (!Object.prototype.propertyIsEnumerable.call(values, name)) continue
      throw unknownOption(group, name)
    }
    const value = values[name]
    if (value !== undefined && value !== null) {
      into[option.name] = option.check?.(option, value)
    }
  }
  return read
}

module.exports = { readOptions }
