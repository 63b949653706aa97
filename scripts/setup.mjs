// Makes a fresh clone ready to run: dependencies, the addon and, with --servers, what the tests run against.
import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { getServers } from './servers.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const isWindows = process.platform === 'win32'

function main() {
  needTools()
  if (dependenciesAreOld()) {
    console.log('setup: installing dependencies (npm ci)')
    npm('ci', '--no-audit', '--no-fund', '--loglevel=error')
  }
  console.log('setup: building the addon (cargo, a minute or two the first time)')
  npm('run', '--silent', 'build')
  if (process.argv.includes('--servers')) getServers()
  console.log('setup: ready')
}

function needTools() {
  const [major] = process.versions.node.split('.')
  if (Number(major) < 20) throw new Error(`Node.js 20 or newer is needed, this is ${process.version}`)
  if (!runs('cargo')) throw new Error('cargo is missing: install Rust 1.91 or newer (https://rustup.rs)')
  // Part of what is built is C. On Windows it comes with the linker that Rust asks for when it is installed.
  if (!isWindows && !runs('cc'))
    throw new Error('a C compiler is missing (Debian: apt-get install gcc libc6-dev)')
}

function runs(command) {
  return spawnSync(command, ['--version']).status === 0
}

/** npm writes this file at the end of an installation. */
function dependenciesAreOld() {
  const time = (file) => statSync(`${root}/${file}`, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return time('node_modules/.package-lock.json') < time('package-lock.json')
}

function npm(...args) {
  const { status } = spawnSync('npm', args, { cwd: root, stdio: 'inherit', shell: isWindows })
  if (status !== 0)
    throw new Error(`npm ${args[0] === 'ci' ? 'ci' : 'run build'} failed; its last lines say why`)
}

try {
  main()
} catch (error) {
  console.error(`setup: ${error.message}`)
  process.exitCode = 1
}
