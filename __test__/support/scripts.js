'use strict'

const fs = require('node:fs')
const path = require('node:path')

const operations = path.join(__dirname, '../../crates/redis/src/operations')

const read = (file) => fs.readFileSync(path.join(operations, file), 'utf8')

/** The text of a script as it is sent, by the name of its operation, whose file says what it is made of. */
function script(name) {
  const [, parts] = read(`${name}.rs`).match(/script!\(\s*\d+,([^)]*)\)/)
  return [...parts.matchAll(/"(.*?)"/g)].map(([, part]) => read(`${part}.lua`)).join('')
}

/** The text of all files that scripts are made of. */
function allSources() {
  const files = fs.readdirSync(operations, { recursive: true })
  return files
    .filter((file) => file.endsWith('.lua'))
    .map(read)
    .join('')
}

module.exports = { allSources, read, script }
