'use strict'

const fs = require('node:fs')
const path = require('node:path')
const ts = require('typescript')
const native = require('../lib/native')
const { must } = require('../lib/options/argument-errors')
const table = require('../lib/options/table')
const { everyOption, groups, isNumeric, optionsThat, settings } = require('./support/options')

// What is said of the options, beside the table that they are read by.

const textOf = (file) => fs.readFileSync(path.join(__dirname, '..', file), 'utf8')

describe('the documentation', () => {
  /** The rows of the tables under a heading, or under all of that level. */
  const rowsUnder = (file, heading) => {
    const level = heading.match(/^#+ /)[0]
    const sections = textOf(file).split(new RegExp(`^(?=#{1,${level.length - 1}} )`, 'm'))
    const chosen = sections.filter((section) => section.startsWith(heading))
    return chosen.flatMap((section) => section.match(/^\|.*\|$/gm) ?? [])
  }
  const cellsOf = (row) => row.split(/(?<!\\)\|/).map((cell) => cell.trim())
  const rowOf = ({ name, path }, [file, heading]) => {
    const shown = `\`${path.startsWith('settings.') ? path : name}`
    const rows = rowsUnder(file, heading)
    return (
      rows.find((row) => cellsOf(row)[1] === `${shown}\``) ??
      // In a row with others, or with its own members.
      rows.find((row) => [`${shown}\``, `${shown}.`].some((name) => cellsOf(row)[1].includes(name)))
    )
  }

  it.each(everyOption)('has a row for %s, with its default and why it has no effect', (_, option, how) => {
    const docs = how.elsewhere?.[option.name] ?? how.docs
    const row = rowOf(option, docs)
    expect(row).toBeDefined()
    const plain = row.replaceAll('`', '')
    if (option.why) {
      const sections = { none: '## Accepted without effect', refused: '## Refused' }
      expect(rowsUnder(docs[0], sections[option.effect])).toContain(row)
      expect(plain).toContain(option.why)
    }
    const { default: fallback } = option
    if (fallback !== undefined && docs[1] !== '## request') {
      const shown = typeof fallback === 'string' ? `'${fallback}'` : String(fallback)
      if (option.name !== 'family') expect(cellsOf(plain)[2]).toBe(shown)
    }
  })

  it('has no row for an option of config that there is none of', () => {
    const names = ['## Honoured', '## Accepted without effect', '## Refused'].flatMap((heading) =>
      rowsUnder('docs/redis-options.md', heading).flatMap((row) =>
        Array.from(cellsOf(row)[1].matchAll(/`(\w+)`/g), ([, name]) => name),
      ),
    )
    // Rows that say why these are none.
    const none = ['camel_case', 'tls']
    expect(names.filter((name) => !table.config.known.has(name) && !none.includes(name))).toEqual([])
    expect(names.length).toBeGreaterThan(30)
  })
})

describe('the declarations', () => {
  const parse = (file) => ts.createSourceFile(file, textOf(file), ts.ScriptTarget.Latest, true)

  /** Every declaration of a file with a name, those in namespaces too. */
  const declarationsOf = (file) => {
    const found = new Map()
    const visit = (node) => {
      if (ts.isInterfaceDeclaration(node) || ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node)) {
        found.set(node.name.text, node)
      }
      ts.forEachChild(node, visit)
    }
    visit(parse(file))
    return found
  }
  const declared = declarationsOf('index.d.ts')
  const membersOf = (node) => new Map(node.members.map((member) => [member.name.text, member]))

  it.each(Object.entries(groups))('of %s name the same options as the table', (group, { declaredBy }) => {
    const names = table[group].options.map(({ name }) => name)
    expect([...membersOf(declared.get(declaredBy)).keys()].sort()).toEqual(names.sort())
  })

  it.each(optionsThat(isNumeric))('of %s say its type and its range', (_, option, { declaredBy }) => {
    const member = membersOf(declared.get(declaredBy)).get(option.name)
    expect(member.type.getText().split(' | ').includes('Time')).toBe(option.type === 'time')
    const comment = ts
      .getJSDocCommentsAndTags(member)
      .map((doc) => doc.getText())
      .join(' ')
      .replace(/\s*\n\s*\*\s*/g, ' ')
    const [range] = must(option).match(/from \S+ (?:to \S+|on)/)
    if (!option.aliasOf) expect(comment.toLowerCase()).toContain(range)
  })

  it('of the addon name what it exports', () => {
    const file = declarationsOf('lib/native.d.ts')
    const exported = [...file].filter(([, node]) => !ts.isInterfaceDeclaration(node)).map(([name]) => name)
    expect(exported.sort()).toEqual(
      Object.keys(native)
        .filter((name) => !name.startsWith('__'))
        .sort(),
    )
    const locker = native.lockFactory(
      { ...settings, commandTimeout: 1000, redis: undefined },
      'host',
      () => {},
      true,
    )
    expect([...membersOf(file.get('Locker')).keys()].sort()).toEqual(Object.keys(locker).sort())
    return locker.close()
  })
})
