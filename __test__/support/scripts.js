'use strict'

const fs = require('node:fs')
const path = require('node:path')

const source = path.join(__dirname, '../../src/driver/redis')

/** The text of a script as it is sent, by its name in `scripts.rs`, which says what it is made of. */
function script(name) {
  const list = fs.readFileSync(path.join(source, 'scripts.rs'), 'utf8')
  const [, parts] = list.match(new RegExp(`pub static ${name}:.*= script!\\((.*)\\);`))
  return parts
    .split(', ')
    .map((part) => fs.readFileSync(path.join(source, 'scripts', `${JSON.parse(part)}.lua`), 'utf8'))
    .join('')
}

module.exports = { script }
