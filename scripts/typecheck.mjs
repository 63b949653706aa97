// Checks index.d.ts: against what users write (__test__/types), and against what the addon knows; and lib/ against
// lib/native.d.ts.
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
const withNode = '__test__/types/with-node'

/** Compiles what imports the package by its own name, as users with this setting would compile theirs. */
function compile(folder, ...flags) {
  const args = [require.resolve('typescript/bin/tsc'), '--project', fileOf(folder), ...flags]
  const { status } = spawnSync(process.execPath, args, { stdio: 'inherit' })
  assert.equal(status, 0)
}

function compareCodes() {
  const codes = (text) => [...new Set(text.match(/\bERR_(REDIS|SENTINEL)_\w+/g))].sort()
  const refusals = ['refusal.rs', 'topology/sentinel/panel.rs'].map((file) =>
    textOf(`crates/redis/src/${file}`),
  )
  assert.deepEqual(codes(declarations), codes(refusals.join()))
}

const checks = {
  'under nodenext': () => compile(types, '--module', 'nodenext'),
  'under node16': () => compile(types, '--module', 'node16'),
  'under commonjs': () => compile(types, '--module', 'commonjs', '--esModuleInterop', 'true'),
  'with libs of the compiler': () =>
    compile(withLibs, '--module', 'nodenext', '--lib', 'es2022,esnext.disposable,dom'),
  'with @types/node': () => compile(withLibs, '--module', 'nodenext', '--types', 'node'),
  'of what is observed, with @types/node': () => compile(withNode, '--module', 'nodenext', '--types', 'node'),
  'of lib/ against lib/native.d.ts': () => compile('tsconfig.json'),
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
