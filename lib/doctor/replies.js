'use strict'

/** Keys and values, one behind the other. @param {any[]} list @returns {{ [name: string]: any }} */
function fieldsOf(list) {
  /** @type {[string, any][]} */
  const pairs = []
  for (let index = 0; index < list.length; index += 2) pairs.push([list[index], list[index + 1]])
  return Object.fromEntries(pairs)
}

/** Lines of `name:value`. @param {string} text @returns {{ [name: string]: string }} */
function infoOf(text) {
  const lines = text.split('\r\n').map((line) => /^([^#:]+):(.*)$/.exec(line))
  return Object.fromEntries(lines.flatMap((found) => (found ? [[found[1], found[2]]] : [])))
}

/** `a=1,b=2` @param {string} text @returns {{ [name: string]: string }} */
function partsOf(text) {
  return Object.fromEntries(text.split(',').map((part) => part.split('=')))
}

module.exports = { fieldsOf, infoOf, partsOf }
