'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { until } = require('./until')

const AsyncFunction = (async () => {}).constructor

const text = fs.readFileSync(path.join(__dirname, '../../docs/migrating.md'), 'utf8')

/** What is under each heading of docs/migrating.md. */
const sections = new Map(
  text
    .split(/^## /m)
    .slice(1)
    .map((section) => [section.match(/.*/)[0], section]),
)

/** The rows of the table under a heading: the cells of each. */
function rowsUnder(heading) {
  const [, , ...rows] = sections.get(heading).match(/^\|.*\|$/gm)
  return rows.map((row) =>
    row
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  )
}

/** The code of a cell, a line for each span; nothing where there is none. */
function codeOf(cell) {
  return Array.from(cell.matchAll(/`([^`]+)`/g), ([, line]) => line).join('\n')
}

/** Runs code with these variables. A promise of the value of its last line, or of what that declares. */
async function run(code, variables) {
  const lines = code.split('\n')
  const last = lines.pop()
  const declared = last.match(/^const (.+?) = /)?.[1]
  if (declared) lines.push(last, `return ${declared}`)
  else lines.push(last.startsWith('if ') ? last : `return ${last}`)
  return new AsyncFunction(...Object.keys(variables), lines.join('\n'))(...Object.values(variables))
}

/**
 * Tries the rows of a table of docs/migrating.md, each by the test of its name, which is the old code, with a space
 * between two lines. A test gets `old` and `here`, which run the two cells as they stand there, and may be given more
 * variables than those of `scope()`.
 */
function migrating(heading, scope, tests) {
  const rows = rowsUnder(heading).map(([old, here]) => ({ old: codeOf(old), here: codeOf(here), cell: here }))
  const nameOf = ({ old }) => old.replaceAll('\n', ' ')

  it('has a test for each row, and a row for each test', () => {
    expect(Object.keys(tests).sort()).toEqual(rows.map(nameOf).sort())
  })

  it('has code in each cell, or says that there is none', () => {
    for (const { old, here, cell } of rows) {
      expect(old).not.toBe('')
      if (here === '') expect(cell).toBe('none')
    }
  })

  it.each(rows.map((row) => [nameOf(row), row]))('%s', (name, row) => {
    const runs = (code) => (variables) => run(code, { ...scope(), ...variables })
    return tests[name]({ old: runs(row.old), here: runs(row.here) })
  })
}

/** The locker, with these options in place of those that the code gives. */
function insisting(options, { lock, tryLock }) {
  const insist = (take) => (name, given) => take(name, { ...given, ...options })
  return { lock: insist(lock), tryLock: insist(tryLock) }
}

/** That the lock that this code takes is renewed. With a lease of a second it shows soon. */
async function expectRenewal(here, locker) {
  const lock = await here({ locker: insisting({ expire: 1 }, locker) })
  await longer(() => lock.remaining())
  expect(await lock.unlock()).toBe(true)
}

/** Waits until what is left of a lease is more than it was. */
async function longer(left) {
  let last = Number.POSITIVE_INFINITY
  const isMore = async () => {
    const before = last
    last = await left()
    return last > before
  }
  await until(isMore, 'the lease is renewed')
}

/** What a call resolves to or rejects with, and how many milliseconds it takes. A timer may be one of them early. */
async function timed(call) {
  const start = performance.now()
  const answer = await call().catch((error) => error)
  return { answer, time: performance.now() - start + 1 }
}

module.exports = { codeOf, expectRenewal, insisting, longer, migrating, rowsUnder, run, sections, timed }
