// Runs the suites of __test__ on every runtime that is supported: npm run test:runtimes -- [--quick] [name...]
import { spawn, spawnSync } from 'node:child_process'
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, '.runtimes')
const { platform, arch } = process

/**
 * The packages of npm that carry a binary. Those that everybody knows (`node`, `bun`, `deno`) only choose one of them, in
 * a script that runs when they are installed.
 */
const packages = {
  node: { name: `node-${platform}-${arch}`, binary: 'bin/node', run: [] },
  bun: {
    name: `@oven/bun-${platform}-${arch === 'arm64' ? 'aarch64' : arch}`,
    binary: 'bin/bun',
    // Else what jest starts is Node.js, as its first line says.
    run: ['--bun'],
  },
  deno: {
    name: `@deno/${platform}-${arch}${platform === 'linux' ? '-glibc' : ''}`,
    binary: 'deno',
    run: ['run', '--allow-all'],
    // All processes with the same main module share the database of localStorage, at which jest looks when it begins a file:
    // now and then one of them finds it locked.
    jest: ['--maxWorkers=1'],
  },
}

const runtimes = {
  'node-20': { kind: 'node', version: '20.20.2' },
  'node-22': { kind: 'node', version: '22.23.3' },
  'node-24': { kind: 'node', version: '24.21.0' },
  'node-26': { kind: 'node', version: '26.10.0' },
  bun: { kind: 'bun', version: '1.4.5' },
  deno: { kind: 'deno', version: '2.9.6' },
}

/**
 * What cannot pass, and why. These tests run nevertheless: one that passes must be taken off the list, unless it fails
 * only `sometimes`.
 */
const exceptions = [
  {
    kinds: ['bun', 'deno'],
    file: 'leaks.test.js',
    test: 'nothing is left that jest would find (--detectLeaks)',
    reason:
      'jest --detectLeaks does not work there: Bun has no gc() to expose, and on Deno an empty test leaks, too',
  },
  {
    kinds: ['bun', 'deno'],
    file: 'loading.test.js',
    test: 'the module finds its libc where it may not read the program',
    reason: 'Bun has no permissions, and where those of Deno are that narrow, it makes no report either',
  },
  {
    kinds: ['bun', 'deno'],
    file: 'turns.test.js',
    test: 'a call needs no other thread of a process that is idle',
    reason: 'only the event loop of Node.js can watch our sockets, so the thread of the runtime reads',
  },
  {
    kinds: ['bun'],
    file: 'stacks.test.js',
    test: 'the stack of an error has all that waited for the caller',
    reason: 'Bun has functions that await in a stack only where the error is made while they do',
  },
  {
    kinds: ['deno'],
    file: 'workers.test.js',
    test: 'worker threads do not leave a lock behind that was granted while they were busy and that they never heard of',
    reason:
      'Deno does not end a worker that is in an endless loop: terminate() resolves, and the loop goes on',
  },
  {
    kinds: ['deno'],
    file: 'workers.test.js',
    test: 'worker threads do not leave a lock behind that was granted after they were terminated',
    reason:
      'Deno resolves terminate() before the worker has come to its end: what comes until then is still settled',
    sometimes: true,
  },
  {
    kinds: ['bun'],
    file: 'workers.test.js',
    test: 'worker threads do not leave a lock behind that was granted while they were busy and that they never heard of',
    reason:
      'Bun may still let us settle the promise when the worker has been terminated, and says that it is settled',
    sometimes: true,
  },
  ...['TLSv1.2', 'TLSv1.3'].map((version) => ({
    kinds: ['bun', 'deno'],
    file: 'tls.test.js',
    test: `tls over ${version}, a certificate is for node:tls what the table says`,
    reason: 'node:tls is not that of Node.js there, and has rules of its own',
  })),
  ...['for certificates only', 'self-signed, only for signing others, in ca'].map((certificate) => ({
    kinds: ['bun'],
    file: 'tls.test.js',
    test: `tls over TLSv1.3, a certificate ${certificate}`,
    reason: 'a server of Bun does not take such a certificate',
  })),
  ...[
    'TLSv1.3, a certificate with a critical extension that is unknown',
    'TLSv1.3, a certificate with critical constraints of policies',
    'TLSv1.3, a certificate with a critical mapping of policies',
    'TLSv1.3, a certificate with a critical limit to any policy',
    'TLSv1.3, a certificate with a critical noCheck',
    'TLSv1.3, a certificate for servers, by the extension of Netscape',
    'TLSv1.3, a certificate with two algorithms',
    'TLSv1.2, a certificate with two algorithms',
  ].map((certificate) => ({
    kinds: ['deno'],
    file: 'tls.test.js',
    test: `tls over ${certificate}`,
    reason: 'a server of Deno does not take such a certificate',
  })),
  {
    kinds: ['bun', 'deno'],
    file: 'tls.test.js',
    test: 'tls by what Node.js is told passes over what cannot be read in NODE_EXTRA_CA_CERTS',
    reason: 'Bun takes nothing of such a file, and Deno lists what it cannot read',
  },
  {
    kinds: ['deno'],
    file: 'tls.test.js',
    test: 'tls shows a client certificate of version 1',
    reason: 'a server of Deno knows certificates of version 3 only',
  },
]

/** One of each kind, and a few minutes for all: the machine's own Redis, and nothing that takes long. */
const quick = {
  names: ['node-26', 'bun', 'deno'],
  files: [
    ...[
      'arguments',
      'connection',
      'entry',
      'event-loop',
      'exit',
      'faults',
      'loading',
      'memory',
      'modes',
      'redis',
    ],
    ...['turns', 'workers'],
  ].map((name) => `__test__/${name}.test.js`),
  pattern: '^(?!a locker on (redis-|valkey-))',
}

const args = process.argv.slice(2)
const isQuick = args.includes('--quick')
const asked = args.filter((arg) => arg !== '--quick')

async function main() {
  const unknown = asked.find((name) => !(name in runtimes))
  if (unknown) throw new Error(`${unknown} is not known; known are ${Object.keys(runtimes).join(', ')}`)
  const names = asked.length > 0 ? asked : isQuick ? quick.names : Object.keys(runtimes)
  const binaries = names.map(install)
  row('runtime', 'version', 'passed', 'failed', 'not there', 'seconds')
  const total = { passed: 0, failed: 0 }
  for (const [index, name] of names.entries()) {
    const start = performance.now()
    const { passed, problems, excused } = await test(name, binaries[index])
    const seconds = Math.round((performance.now() - start) / 1000)
    row(name, runtimes[name].version, passed, problems.length, excused.length, seconds)
    for (const { test, reason } of excused) console.log(`  not there: ${test}\n    ${reason}`)
    for (const problem of problems) console.log(`  FAILED: ${problem}`)
    if (problems.length > 0) console.log(`  all that jest said: ${relative(root, outputOf(name))}`)
    total.passed += passed
    total.failed += problems.length
  }
  console.log(`runtimes: ${total.passed} passed, ${total.failed} failed`)
  if (total.failed > 0) process.exitCode = 1
}

function row(name, ...cells) {
  console.log(name.padEnd(9) + cells.map((cell) => String(cell).padStart(11)).join(''))
}

const outputOf = (name) => join(folder, name, 'output.txt')

/** The binary of a runtime, from its package, which is installed if it is not there. */
function install(name) {
  const { kind, version } = runtimes[name]
  const { name: carrier, binary } = packages[kind]
  const own = join(folder, name)
  const file = join(own, 'node_modules', carrier, binary)
  const versionOf = () => spawnSync(file, ['--version'], { encoding: 'utf8' }).stdout ?? ''
  if (!versionOf().includes(version)) {
    console.log(`runtimes: fetching ${carrier}@${version}`)
    rmSync(own, { recursive: true, force: true })
    mkdirSync(own, { recursive: true })
    const description = { private: true, dependencies: { [carrier]: version } }
    writeFileSync(join(own, 'package.json'), JSON.stringify(description))
    const quiet = ['--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error']
    const { status } = spawnSync('npm', ['install', '--ignore-scripts', ...quiet], {
      cwd: own,
      stdio: 'inherit',
      shell: platform === 'win32',
    })
    if (status !== 0) throw new Error(`npm could not install ${carrier}@${version}`)
    if (!versionOf().includes(version)) throw new Error(`${file} is not ${version}, or does not run here`)
  }
  return file
}

/** Runs the suites. `problems`: what failed, and what is listed as an exception without being one. */
async function test(name, binary) {
  const { kind } = runtimes[name]
  const results = join(folder, name, 'results.json')
  rmSync(results, { force: true })
  const choice = isQuick ? ['--testNamePattern', quick.pattern, '--runTestsByPath', ...quick.files] : []
  const code = await jest(
    name,
    [binary, ...packages[kind].run],
    ['--json', '--outputFile', results, ...(packages[kind].jest ?? []), ...choice],
  )
  if (!existsSync(results))
    return { passed: 0, problems: [`jest ended with ${code}, and no results`], excused: [] }

  const expected = exceptions.filter(({ kinds }) => kinds.includes(kind))
  const problems = []
  const excused = []
  let passed = 0
  for (const { name: path, status, message, assertionResults } of JSON.parse(readFileSync(results, 'utf8'))
    .testResults) {
    const file = relative(join(root, '__test__'), path)
    // The file could not be read, or something went wrong after its tests.
    if (status === 'failed' && !assertionResults.some(({ status }) => status === 'failed')) {
      problems.push(`${file}: ${message}`)
    }
    const listed = expected.filter((exception) => exception.file === file)
    for (const exception of listed) {
      if (!assertionResults.some(({ fullName }) => fullName === exception.test)) {
        problems.push(`${file}: ${exception.test}: is an exception, but not a test`)
      }
    }
    for (const { fullName, status, failureMessages } of assertionResults) {
      const exception = listed.find(({ test }) => test === fullName)
      if (status === 'failed' && exception) excused.push(exception)
      else if (status === 'failed') problems.push([`${file}: ${fullName}`, ...failureMessages].join('\n'))
      else if (status === 'passed' && exception && !exception.sometimes) {
        problems.push(`${file}: ${fullName}: is an exception, but passes`)
      } else if (status === 'passed') passed++
    }
  }
  if (code !== 0 && problems.length + excused.length === 0) problems.push(`jest ended with ${code}`)
  return { passed, problems, excused }
}

function jest(name, [binary, ...before], options) {
  const output = createWriteStream(outputOf(name))
  const jest = join(root, 'node_modules/jest/bin/jest.js')
  const child = spawn(binary, [...before, jest, ...options], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.resume()
  child.stderr.pipe(output)
  return new Promise((resolve, reject) =>
    child.once('error', reject).once('close', (code, signal) => resolve(code ?? signal)),
  )
}

try {
  await main()
} catch (error) {
  console.error(`runtimes: ${error.message}`)
  process.exitCode = 1
}
