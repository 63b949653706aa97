'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { connectionOptions } = require('../bin/arguments/connection')
const { parse } = require('../bin/arguments/parse')
const commands = require('../bin/commands')

const text = fs.readFileSync(path.join(__dirname, '../docs/cli.md'), 'utf8')
const sections = new Map(
  text.split(/^## /m).map((section) => [section.slice(0, section.indexOf('\n')), section]),
)
const documented = commands.names.filter((name) => sections.has(name))

/** The options in the tables of a section, as they are spelled there. */
function described(section) {
  const rows = sections.get(section).matchAll(/^\| ((?:`-[^`]+`(?:, )?)+) \|/gm)
  return [...rows].map(([, cell]) => cell.replaceAll('`', ''))
}

/** And as the command has them. */
function spelled(options) {
  return Object.entries(options).map(([name, { short, value }]) => {
    const after = value ? ` ${value}` : ''
    return `${short ? `-${short}${after}, ` : ''}--${name}${after}`
  })
}

describe('docs/cli.md', () => {
  it('names all commands, and has sections for those that have no page of their own', () => {
    const rows = [...text.matchAll(/^\| \[`(\w+)[^`]*`\]\((#?)/gm)]
    expect(rows.map(([, name]) => name).sort()).toEqual(commands.names)
    expect(
      rows
        .filter(([, , here]) => here)
        .map(([, name]) => name)
        .sort(),
    ).toEqual(documented)
  })

  it('has the options of the connection', () => {
    expect(described('Connection')).toEqual(spelled(connectionOptions))
  })

  it.each(documented)('has the options of %s', (name) => {
    expect(described(name)).toEqual(spelled(commands.load(name).options ?? {}))
  })

  const examples = [...text.matchAll(/^(?:\$ )?lock-inc (\S+) ?(.*)$/gm)]

  it.each(examples.map(([line, name, rest]) => [line, name, rest]))(
    'has an example that is taken: %s',
    (_, name, rest) => {
      const words = rest.replace(/ +#.*/, '').match(/'[^']*'|\S+/g) ?? []
      const command = commands.load(name)
      const options = { ...command.options, ...connectionOptions }
      expect(() => parse(options, command, words)).not.toThrow()
    },
  )
})
