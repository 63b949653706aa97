// Checks what npm would publish: makes the packages as a release does, and uses them as somebody who installs them.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, parse, relative } from 'node:path'
import { addon, install, pack, platformsOf, readJson, root, run, stagePackages, tool } from './packing.mjs'

const work = mkdtempSync(join(tmpdir(), 'lock-inc-package-'))
const app = join(work, 'app')

const usage = `
  const assert = require('node:assert/strict')
  const lockFactory = require('lock-inc')
  const locker = lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } })

  locker
    .lock('User:1602', { expire: 10 })
    .then(async (lock) => {
      assert.equal(lock.key, lockFactory.hash('User:1602'))
      assert.equal(await locker.isLocked('User:1602'), true)
      await assert.rejects(locker.lock('User:1602'), locker.ResourceLockedError)
      return lock
    })
    .then((lock) => lock.unlock())
    .then(() => locker.isLocked('User:1602'))
    .then((isLocked) => console.log(isLocked ? 'locked' : 'released'))
`

const usageOfNames = `
  import assert from 'node:assert/strict'
  import byDefault, { hash, lockFactory, LockError, ResourceLockedError, ConnectionError } from 'lock-inc'
  import { RedisError, ReplicationError, ClosedError } from 'lock-inc'

  assert.equal(byDefault, lockFactory)
  const locker = lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } })
  const lock = await locker.lock('User:1602')
  assert.equal(lock.key, hash('User:1602'))
  await assert.rejects(locker.lock('User:1602'), ResourceLockedError)
  await locker.close()
  await assert.rejects(lock.unlock(), ClosedError)
  for (const Class of [ResourceLockedError, ConnectionError, RedisError, ReplicationError, ClosedError]) {
    assert(Class.prototype instanceof LockError)
  }
  console.log('released')
`

const usageWithTypes = `
  import lockFactory, { hash, type Lock, ResourceLockedError } from 'lock-inc'

  const locker = lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } })
  const take = (): Promise<Lock> => locker.lock(hash('User:1602'), { expire: 10 })
  export const give = async (): Promise<boolean> => (await take()).unlock()
  export const count = (error: unknown) => error instanceof ResourceLockedError && error.details.numberOfLocks
  // @ts-expect-error: if it is not one, the types were not found
  locker.lock(1602)
`

const checks = {
  'there is a package for each platform, with the licence': () => {
    stage = stagePackages(work)
    const own = readJson(join(root, 'package.json'))
    assert.equal(platformsOf(stage).length, own.napi.targets.length)
    const licence = readFileSync(join(root, 'LICENSE'), 'utf8')
    for (const { name, folder } of platformsOf(stage)) {
      const { files } = pack(folder, work)
      assert.deepEqual(files, ['LICENSE', 'README.md', `lock-inc.${name}.node`, 'package.json'])
      assert.equal(readFileSync(join(folder, 'LICENSE'), 'utf8'), licence)
    }
  },

  'all of them say whose they are, and where to ask': () => {
    for (const folder of [stage, ...platformsOf(stage).map(({ folder }) => folder)]) {
      const { license, homepage, bugs, repository } = readJson(join(folder, 'package.json'))
      assert.equal(license, 'MIT')
      const at = 'https://github.com/1602/lock-inc'
      assert.deepEqual(
        [homepage, bugs.url, repository.url],
        [`${at}#readme`, `${at}/issues`, `git+${at}.git`],
      )
    }
  },

  'the main package depends on all of them, in its own version': () => {
    const { version, optionalDependencies } = readJson(join(stage, 'package.json'))
    const expected = platformsOf(stage).map(({ name }) => [`lock-inc-${name}`, version])
    assert.deepEqual(optionalDependencies, Object.fromEntries(expected))
  },

  'the loader requires each of them, and no other': () => {
    const loader = readFileSync(join(stage, 'lib/native.js'), 'utf8')
    const required = [...loader.matchAll(/case '(.+)':\s+return require\('lock-inc-(.+)'\)/g)]
    assert.deepEqual(
      required.map(([, ...names]) => names),
      platformsOf(stage).map(({ name }) => [name, name]),
    )
  },

  'the main package holds what is needed, and no addon': () => {
    const modules = ['bin', 'lib']
      .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile() && !['addon-built-here.js', 'native.d.ts'].includes(entry.name))
      .map(({ parentPath, name }) => relative(root, join(parentPath, name)).replaceAll('\\', '/'))
    const otel = readdirSync(join(root, 'otel')).map((name) => `otel/${name}`)
    const page = ['page.d.ts', 'page.js']
    const own = ['LICENSE', 'README.md', 'index.d.ts', 'index.js', 'package.json', ...page, ...otel]
    main = pack(stage, work)
    assert.deepEqual(main.files, [...own, ...modules].sort())
    assert.ok(
      modules.every((name) => name.endsWith('.js')),
      `not all of bin and lib is JavaScript: ${modules}`,
    )
  },

  'publint finds nothing': () => {
    // It ends well with mere suggestions, too.
    assert.match(tool(work, 'publint', 'run', main.file, '--strict'), /All good/)
  },

  'attw finds no wrong types': () => tool(work, 'attw', main.file, '--format', 'ascii'),

  'both packages can be installed': () => {
    mkdirSync(app)
    writeFileSync(join(app, 'package.json'), '{ "private": true }')
    install(app, main.file, pack(join(stage, 'npm', addon().platform), work).file)
    // The other platforms' are not found, and need not be.
    assert.deepEqual(installed(), ['lock-inc', `lock-inc-${addon().platform}`])
  },

  'require works': () => {
    writeFileSync(join(app, 'usage.cjs'), usage)
    assert.equal(run(app, process.execPath, 'usage.cjs'), 'released\n')
  },

  'import works, with names': () => {
    writeFileSync(join(app, 'usage.mjs'), usageOfNames)
    assert.equal(run(app, process.execPath, 'usage.mjs'), 'released\n')
  },

  'npx runs the command line': () => {
    const npx = (...args) => run(app, 'npx', '--offline', 'lock-inc', ...args)
    assert.equal(npx('--version'), `${readJson(join(root, 'package.json')).version}\n`)
    for (const name of readdirSync(join(root, 'bin/commands')).map((file) => parse(file).name)) {
      if (name !== 'index') assert.match(npx(name, '--help'), new RegExp(`^Usage: lock-inc ${name} `))
    }
  },

  'TypeScript finds the types': () => {
    writeFileSync(join(app, 'usage.mts'), usageWithTypes)
    tool(app, 'tsc', '--strict', '--noEmit', '--module', 'nodenext', 'usage.mts')
  },
}

/** The folder of the main package, as it is to be published, and its archive. */
let stage
let main

const installed = () => readdirSync(join(app, 'node_modules')).filter((name) => !name.startsWith('.'))

let failed = 0
try {
  for (const [name, check] of Object.entries(checks)) {
    try {
      check()
      console.log(`package: ${name}: ok`)
    } catch (error) {
      failed++
      console.log(`package: ${name}: FAILED\n${error.message}`)
    }
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
console.log(`package: ${Object.keys(checks).length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
