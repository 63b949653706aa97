// Does what docs/bundlers.md says, each section with the packed package in a folder of its own; and the tests that
// docs/testing.md has for Vitest, which bundles, too: npm run test:bundlers [-- name...]. Without names all but Next.js,
// which takes the longest. Bundlers come from npm.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { addon, pack, root, run, stagePackages } from './packing.mjs'

const rollup = [
  'rollup@4.68.8',
  '@rollup/plugin-commonjs@29.0.3',
  '@rollup/plugin-json@6.1.0',
  '@rollup/plugin-node-resolve@16.0.3',
]

/**
 * By their headings. `bare`: the command line, or the config without the line that lock-inc needs, with which the bundler
 * stops at the addon. `alone`: the bundle needs no `node_modules`. `tests`: tests are run.
 */
const bundlers = {
  esbuild: { packages: ['esbuild@0.28.2'], bare: without(' --packages=external') },
  'esbuild, with the addon': {
    packages: ['esbuild@0.28.2'],
    bare: without(' --loader:.node=copy'),
    alone: true,
  },
  Rollup: { packages: rollup, bare: without("  external: ['lock-inc'],\n") },
  Vite: { packages: ['vite@8.4.0'] },
  'Vite, with dependencies inside': { packages: ['vite@8.4.0'], bare: without(", external: ['lock-inc']") },
  webpack: {
    packages: ['webpack@5.113.0', 'webpack-cli@7.3.1'],
    bare: without("  externals: { 'lock-inc': 'commonjs lock-inc' },\n"),
  },
  Vitest: { packages: ['vitest@4.1.12'], tests: true },
  'Next.js': {
    packages: ['next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1'],
    bare: without("  serverExternalPackages: ['lock-inc'],\n"),
    request: { path: '/report', method: 'POST' },
    slow: true,
  },
}

function without(line) {
  return (text) => text.replace(line, '')
}

const work = mkdtempSync(join(tmpdir(), 'lock-inc-bundlers-'))
const page = readFileSync(join(root, 'docs/bundlers.md'), 'utf8')

/** What is under each heading: the files, by the names in front of their blocks, and the lines of the commands. */
const sections = new Map(
  page.split(/^##+ /m).map((section) => {
    const files = Array.from(section.matchAll(/^`(\S+)`:\n\n```js\n([\s\S]*?)^```$/gm), ([, ...file]) => file)
    const lines =
      section
        .match(/^```sh\n([\s\S]*?)^```$/m)?.[1]
        .trim()
        .split('\n') ?? []
    return [section.match(/.*/)[0], { files, build: lines.slice(0, -1).join('\n'), start: lines.at(-1) }]
  }),
)
const program = sections.get('# Bundlers')

/** Runs a line of the shell in `cwd`: whether it ended well, and what it printed. */
function shell(cwd, line) {
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', NO_COLOR: '1' }
  const { status, stdout, stderr } = spawnSync('sh', ['-c', line], { cwd, env, encoding: 'utf8' })
  return { ended: status, output: `${stdout}${stderr}` }
}

function write(app, files, change = (text) => text) {
  for (const [name, text] of files) {
    mkdirSync(dirname(join(app, name)), { recursive: true })
    writeFileSync(join(app, name), change(text))
  }
}

/** Does what is under a heading of docs/bundlers.md. */
async function bundle(app, name, { bare, alone, request }) {
  const section = sections.get(name)
  assert.ok(section?.build && section.start, `docs/bundlers.md has no commands under ${name}`)
  write(app, program.files)
  if (bare) {
    write(app, section.files, bare)
    const { ended, output } = shell(app, bare(section.build))
    assert.notEqual(ended, 0, 'it does not need what the page says that it needs')
    assert.match(output, /lock-inc[\s\S]*\.node/)
  }
  write(app, section.files)
  const { ended, output } = shell(app, section.build)
  assert.equal(ended, 0, output)
  assert.doesNotMatch(output, /\bwarn/i)
  if (alone) rmSync(join(app, 'node_modules'), { recursive: true })
  assert.match(await answerOf(app, section.start, request), /^token \d+\n$/)
}

function runTests(app) {
  for (const file of ['locker.js', 'report.js', 'report.spec.mjs']) {
    copyFileSync(join(root, 'examples/testing', file), join(app, file))
  }
  const { ended, output } = shell(app, 'npx vitest run')
  assert.equal(ended, 0, output)
  assert.match(output, /Tests +1 passed/)
}

async function check(name, how, archives) {
  const app = mkdtempSync(join(work, 'app-'))
  writeFileSync(join(app, 'package.json'), '{ "private": true }')
  const quiet = ['--no-save', '--prefer-offline', '--no-audit', '--no-fund']
  run(app, 'npm', 'install', ...quiet, ...archives, ...how.packages)
  if (how.tests) runTests(app)
  else await bundle(app, name, how)
}

/** What the program that this line starts answers to a request. */
async function answerOf(cwd, line, { path = '/', method = 'GET' } = {}) {
  const port = await freePort()
  const env = { ...process.env, PORT: String(port), HOSTNAME: '127.0.0.1' }
  const [command, ...args] = line.split(' ')
  const server = spawn(command, args, { cwd, env, stdio: ['ignore', 'inherit', 'inherit'] })
  const ended = once(server, 'exit').then(([code]) => {
    throw new Error(`${line} ended with ${code}`)
  })
  try {
    return await Promise.race([ended, answer(`http://127.0.0.1:${port}${path}`, method)])
  } finally {
    server.kill()
    await ended.catch(() => {})
  }
}

async function answer(url, method) {
  const end = Date.now() + 30_000
  for (;;) {
    try {
      const response = await fetch(url, { method })
      return await response.text()
    } catch (error) {
      if (Date.now() > end) throw error
      await sleep(50)
    }
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** All that a name on the command line means: a section, and those that begin with it. */
function chosen(names) {
  if (names.length === 0) return Object.entries(bundlers).filter(([, { slow }]) => !slow)
  return names.flatMap((name) => {
    const found = Object.entries(bundlers).filter(([heading]) =>
      heading.toLowerCase().startsWith(name.toLowerCase()),
    )
    if (found.length === 0) throw new Error(`${name} is none of ${Object.keys(bundlers).join('; ')}`)
    return found
  })
}

let failed = 0
const checks = chosen(process.argv.slice(2))
try {
  const stage = stagePackages(work)
  const archives = [stage, join(stage, 'npm', addon().platform)].map((folder) => pack(folder, work).file)
  for (const [name, how] of checks) {
    try {
      await check(name, how, archives)
      console.log(`bundlers: ${name}: ok`)
    } catch (error) {
      failed++
      console.log(`bundlers: ${name}: FAILED\n${error.message}`)
    }
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
console.log(`bundlers: ${checks.length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
