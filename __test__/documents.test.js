'use strict'

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const Redlock = require('redlock').default
const ts = require('typescript')
const lockFactory = require('..')
const {
  anchorsOf,
  blocksOf,
  documents,
  isProgram,
  linksOf,
  makeApp,
  root,
  textOf,
} = require('./support/documents')
const { killAtExit } = require('./support/kill-at-exit')
const { otherScene } = require('./support/other-libraries')
const { connected } = require('./support/scene')

// Every block of JavaScript and TypeScript in the documents is run as it stands there.

/** These are run by others. */
const elsewhere = {
  'docs/bundlers.md': 'scripts/check-bundlers.mjs',
  'docs/observability.md': '__test__/observability-docs.test.js',
  // Handlers in servers of other frameworks.
  'docs/page.md': '__test__/page-handler.test.js',
}
const blocks = documents
  .filter((document) => !(document in elsewhere))
  .flatMap((document) => blocksOf(document, 'js', 'ts', 'mjs', 'javascript', 'typescript'))
const named = blocks.filter(({ file }) => file)
const programs = blocks.filter((block) => !block.file && isProgram(block))
const parts = blocks.filter((block) => !block.file && !isProgram(block))

const byPlace = (blocks) => blocks.map((block) => [block.where, block])
const scene = otherScene()

/** Runs a program: how it ended, and what it printed. */
function run(args, { cwd, env }) {
  const child = killAtExit(spawn(process.execPath, args, { cwd, env: { ...process.env, ...env } }))
  const result = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8').on('data', (data) => {
      result[stream] += data
    })
  }
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, ...result })))
}

/** Saves a program in a folder where lock-inc is installed, and runs it. */
function runProgram({ code }, env) {
  const app = makeApp('lock-inc')
  const file = path.join(app, code.includes('require(') ? 'program.cjs' : 'program.mjs')
  fs.writeFileSync(file, code)
  return run([file], { cwd: app, env })
}

describe('a whole program', () => {
  it.each(byPlace(programs))('at %s runs on Redis', async (_, block) => {
    const REDIS_URL = `redis://127.0.0.1:${scene.server.port}`
    const { code, stderr } = await runProgram(block, { REDIS_URL })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    // It was that server.
    expect(await scene.server.call('KEYS', '*fence')).not.toEqual([])
    await scene.server.call('FLUSHALL')
  })

  it('is the first thing in the README, and needs no server', async () => {
    expect(programs[0].document).toBe('README.md')
    const above = textOf('README.md').split(programs[0].code)[0]
    expect(above.split('\n').length).toBeLessThanOrEqual(20)
    const { code, stdout, stderr } = await runProgram(programs[0], { REDIS_URL: '' })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/token \d+\n$/)
  })
})

describe('a part of a program', () => {
  const opened = []
  afterEach(() => Promise.all(opened.splice(0).map((locker) => locker.close())))

  /** The variables of the programs that the parts are of. */
  const scope = async () => ({
    locker: await connected(scene.newLocker()),
    lockFactory: (spec) => {
      const locker = lockFactory(spec)
      opened.push(locker)
      return locker
    },
    require,
    console: { log: () => {} },
    redlock: new Redlock([scene.client]),
    work: async () => 'done',
    build: async ({ signal, token }) => signal.throwIfAborted() ?? token,
    transfer: async ({ from, to }) => {
      if (!(from > 0 && to > 0)) throw new Error(`these are no tokens: ${from}, ${to}`)
    },
    pages: ['first', 'second'],
    write: async () => {},
  })

  /** What is not yet known to all runtimes is made of what is. */
  const known = (code) =>
    code.includes('await using')
      ? ts.transpile(`export {}\n${code}`, { target: 'es2022', module: 'esnext' }).replace('export {};', '')
      : code

  it.each(byPlace(parts))('at %s runs', async (_, { code }) => {
    const variables = await scope()
    const program = code.startsWith('config: ')
      ? `lockFactory({ driver: 'redis', settings: { prefix: 'part:' }, ${code} })`
      : known(code)
    const AsyncFunction = (async () => {}).constructor
    await new AsyncFunction(...Object.keys(variables), `{ ${program}\n}`)(...Object.values(variables))
  })
})

describe('a block with the name of a file', () => {
  it.each(byPlace(named))('at %s is what is in it', (_, { file, code }) => {
    expect(textOf(file)).toContain(code)
  })

  it('is there for TypeScript, which the compiler checks in that file', () => {
    for (const { where, file, language } of blocks) {
      if (['ts', 'typescript'].includes(language)) expect([where, file]).toEqual([where, expect.any(String)])
    }
  })
})

describe('the tests in docs/testing.md', () => {
  const folder = path.join(root, 'examples/testing')
  const jest = path.join(root, 'node_modules/jest/bin/jest.js')
  const args = ['--rootDir', folder, '--testMatch', '**/*.test.js', '--runInBand', '--ci', '--json']

  it.each(['in memory', 'on Redis'])('pass %s', async (driver) => {
    const REDIS_URL = driver === 'on Redis' ? `redis://127.0.0.1:${scene.server.port}` : ''
    const { stdout, stderr } = await run([jest, ...args], { cwd: folder, env: { REDIS_URL } })
    const { success, numPassedTests } = JSON.parse(stdout)
    expect({ success, stderr }).toEqual({ success: true, stderr: expect.any(String) })
    const tests = textOf('docs/testing.md').match(/^test\(/gm).length
    const ofVitest = textOf('examples/testing/report.spec.mjs').match(/^test\(/gm).length
    expect(numPassedTests).toBe(tests - ofVitest)
  })
})

describe('the documents', () => {
  it.each(documents)('%s has no link that leads nowhere', (document) => {
    const lost = linksOf(document).filter(({ file, anchor }) => {
      if (!fs.existsSync(path.join(root, file))) return true
      return anchor !== undefined && !anchorsOf(file).includes(anchor)
    })
    expect(lost.map(({ target }) => target)).toEqual([])
  })

  it('are all in the list of the README', () => {
    const listed = linksOf('README.md').map(({ file }) => file)
    expect(documents.filter((document) => document !== 'README.md' && !listed.includes(document))).toEqual([])
  })

  it('of which others run the blocks are there, and so are these others', () => {
    for (const files of Object.entries(elsewhere)) {
      for (const file of files) expect(fs.existsSync(path.join(root, file))).toBe(true)
    }
  })
})
