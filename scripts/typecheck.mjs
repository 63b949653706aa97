// Checks index.d.ts: against what users write (__test__/types), and against what the addon knows.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const fileOf = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const textOf = (path) => readFileSync(fileOf(path), 'utf8')
const declarations = textOf('index.d.ts')
const types = '__test__/types'
const withLibs = '__test__/types/with-libs'

/** Compiles what imports the package by its own name, as users with this setting would compile theirs. */
function compile(folder, ...flags) {
  const args = [require.resolve('typescript/bin/tsc'), '--project', fileOf(folder), ...flags]
  const { status } = spawnSync(process.execPath, args, { stdio: 'inherit' })
  assert.equal(status, 0)
}

/** The names of the options that an interface declares. */
function declared(name) {
  const [, body] = declarations.match(new RegExp(`interface ${name} \\{\n(.*?)\n  \\}`, 's'))
  return [...body.matchAll(/^ {4}(\w+)\??:/gm)].map(([, option]) => option).sort()
}

/** The names of the options that the addon knows: it lists them to whoever gives it one that is like none of them. */
async function known(give) {
  try {
    await give({ '?': true })
  } catch ({ message }) {
    return message.split('known ones are ')[1]?.split(', ').sort()
  }
}

async function compareOptions() {
  const lockFactory = require('..')
  const settings = { prefix: 'lock:' }
  const locker = lockFactory({ driver: 'memory', settings })
  const given = {
    RedisOptions: (config) => lockFactory({ driver: 'redis', config, settings }),
    TlsOptions: (tls) => lockFactory({ driver: 'redis', config: { tls }, settings }),
    Settings: (settings) => lockFactory({ driver: 'memory', settings }),
    LockOptions: (options) => locker.lock('resource', options),
    RequestOptions: (options) => locker.request('resource', options, () => {}),
  }
  for (const [name, give] of Object.entries(given)) assert.deepEqual(declared(name), await known(give), name)
}

function compareCodes() {
  const codes = (text) => [...new Set(text.match(/\bERR_REDIS_\w+/g))].sort()
  assert.deepEqual(codes(declarations), codes(textOf('src/error.rs')))
}

const checks = {
  'under nodenext': () => compile(types, '--module', 'nodenext'),
  'under node16': () => compile(types, '--module', 'node16'),
  'under commonjs': () => compile(types, '--module', 'commonjs', '--esModuleInterop', 'true'),
  'with libs of the compiler': () =>
    compile(withLibs, '--module', 'nodenext', '--lib', 'es2022,esnext.disposable,dom'),
  'with @types/node': () => compile(withLibs, '--module', 'nodenext', '--types', 'node'),
  'options as in the addon': compareOptions,
  'error codes as in the addon': compareCodes,
}

let failed = 0
for (const [name, check] of Object.entries(checks)) {
  try {
    await check()
    console.log(`types: ${name}: ok`)
  } catch (error) {
    failed++
    console.log(`types: ${name}: FAILED\n${error.message}`)
  }
}
console.log(`types: ${Object.keys(checks).length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
