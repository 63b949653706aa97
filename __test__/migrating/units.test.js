'use strict'

const fs = require('node:fs')
const table = require('../../lib/options/table')
const { runNode } = require('../support/child')
const { codeOf, rowsUnder, run, sections } = require('../support/migrating')

const UNITS = { s: 'seconds', ms: 'milliseconds' }

/** The options of a call that are times, by their names. */
const times = new Map(
  [...table.lock.options, ...table.request.options, ...table.settings.options, table.extend]
    .filter(({ type }) => type === 'time')
    .map((option) => [option === table.extend ? 'lock.extend' : option.name, option]),
)

/** The name and the value in code: of an option, or of the argument of a method. */
async function read(code) {
  const lock = { extend: (seconds) => ({ 'lock.extend': seconds }) }
  const [entry] = Object.entries(await run(code.startsWith('lock.') ? code : `({ ${code} })`, { lock }))
  return entry
}

describe('the units', () => {
  const rows = rowsUnder('Units').map((row) => [codeOf(row[0]), ...row])

  it('are those of all options that are times', async () => {
    const entries = await Promise.all(rows.map(([code]) => read(code)))
    expect(entries.map(([name]) => name).sort()).toEqual([...times.keys()].sort())
  })

  it.each(rows)('%s', async (_, plain, unit, withUnit) => {
    const [[name, number], [sameName, string]] = await Promise.all([plain, withUnit].map(codeOf).map(read))
    const option = times.get(name)
    expect(sameName).toBe(name)
    expect(typeof number).toBe('number')
    expect(typeof string).toBe('string')
    expect(unit).toBe(UNITS[option.unit])
    expect(option.check(option, number)).toBe(option.unit === 's' ? number * 1000 : number)
    expect(option.check(option, string)).toBe(option.check(option, number))
  })

  it('of a lease that is copied are mistaken without a warning, up to a day', async () => {
    const script = `
      process.on('warning', ({ code }) => tell(code))
      const locker = lockFactory({ driver: 'memory', settings: { prefix: 'units:' } })
      const left = (expire) => locker.lock('a' + expire, { expire }).then((lock) => tell(lock.remaining()))
      left(30_000).then(() => left(86_400)).then(() => left(86_401)).then(() => locker.close())
    `
    const { messages } = await runNode(script).ended
    const hours = 3_600_000
    expect(messages).toHaveLength(4)
    expect(messages[0]).toBeGreaterThan(8 * hours)
    expect(messages[1]).toBeGreaterThan(23 * hours)
    // The lease of the last one and its warning, in either order.
    expect(messages.slice(2)).toContain('LOCK_INC_EXPIRE')
  })
})

describe('the tables', () => {
  it('are of libraries that have a file of tests each', () => {
    const files = fs.readdirSync(__dirname).map((file) => file.replace('.test.js', ''))
    const names = { 'navigator.locks': 'web-locks' }
    const libraries = Array.from(sections.keys(), (heading) => heading.match(/^From (.+)/)?.[1])
    const tested = libraries.filter(Boolean).map((library) => names[library] ?? library)
    expect(files.sort()).toEqual([...tested, 'units'].sort())
  })

  it('are run with the versions that the text says', () => {
    const text = fs.readFileSync(require.resolve('../../docs/migrating.md'), 'utf8')
    const { devDependencies } = require('../../package.json')
    for (const library of ['redlock', 'redis-semaphore', 'async-mutex']) {
      expect(text.replaceAll('\n', ' ')).toContain(`${library} ${devDependencies[library]}`)
      expect(require(`../../node_modules/${library}/package.json`).version.replace(/^v/, '')).toBe(
        devDependencies[library],
      )
    }
  })
})
