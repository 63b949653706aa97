// Checks what npm would publish: makes the packages as a release does, and uses them as somebody who installs them.
// Works on copies in a temporary folder. The addon must have been built.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, parse, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const work = mkdtempSync(join(tmpdir(), 'lock-inc-package-'))
const stage = join(work, 'package')
const app = join(work, 'app')

/** Runs a command, and fails with its output if it fails. */
function run(cwd, command, ...args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (status !== 0) throw error ?? new Error(`${[command, ...args].join(' ')} failed:\n${stdout}${stderr}`)
  return stdout
}

const tool = (cwd, name, ...args) => run(cwd, join(root, 'node_modules/.bin', name), ...args)

const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'))

function pack(folder) {
  const [packed] = Object.values(JSON.parse(run(folder, 'npm', 'pack', '--json', '--pack-destination', work)))
  return { file: join(work, packed.filename), files: packed.files.map(({ path }) => path).sort() }
}

/** The platforms of `napi.targets`, each with the folder of its package. */
function platforms() {
  return readdirSync(join(stage, 'npm')).map((name) => ({ name, folder: join(stage, 'npm', name) }))
}

/** The addon of this machine. */
function addon() {
  const built = readdirSync(root).filter((name) => name.endsWith('.node'))
  assert.equal(built.length, 1, `one addon should have been built (npm run build), there are ${built.length}`)
  return { file: join(root, built[0]), platform: built[0].split('.')[1] }
}

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
  'napi makes a package for each platform': () => {
    run(work, 'tar', '-xzf', pack(root).file)
    tool(stage, 'napi', 'create-npm-dirs')
    const { targets } = readJson(join(root, 'package.json')).napi
    assert.equal(platforms().length, targets.length)
    // The addons of other platforms are made elsewhere. Here any file does for them: only our own one is run.
    mkdirSync(join(stage, 'artifacts'))
    for (const { name } of platforms()) {
      copyFileSync(addon().file, join(stage, 'artifacts', `lock-inc.${name}.node`))
    }
    tool(stage, 'napi', 'artifacts')
    for (const { name, folder } of platforms()) {
      const { files } = pack(folder)
      assert.deepEqual(files, ['README.md', `lock-inc.${name}.node`, 'package.json'])
    }
  },

  'the main package depends on all of them, in its own version': () => {
    tool(stage, 'napi', 'pre-publish', '--tag-style', 'npm', '--no-gh-release', '--skip-optional-publish')
    const { version, optionalDependencies } = readJson(join(stage, 'package.json'))
    const expected = platforms().map(({ name }) => [`lock-inc-${name}`, version])
    assert.deepEqual(optionalDependencies, Object.fromEntries(expected))
  },

  'the loader requires each of them, and no other': () => {
    const loader = readFileSync(join(stage, 'lib/native.js'), 'utf8')
    const required = [...loader.matchAll(/case '(.+)':\s+return require\('lock-inc-(.+)'\)/g)]
    assert.deepEqual(
      required.map(([, ...names]) => names),
      platforms().map(({ name }) => [name, name]),
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
    main = pack(stage)
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
    const { file } = pack(join(stage, 'npm', addon().platform))
    // Offline: nothing but the two packages is needed. The other platforms' are not found, and need not be.
    run(app, 'npm', 'install', '--offline', '--no-save', '--no-audit', '--no-fund', main.file, file)
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

/** The packed main package. */
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
