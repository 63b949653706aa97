// Which module of what the package exports, of lib/ and of bin/ may require what, and whether what it exports is needed.
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'

export function checkModules({ root }) {
  const entries = entriesOf(root)
  const files = [
    ...new Set([...entries, ...['lib', 'bin', 'otel'].flatMap((folder) => filesIn(root, folder))]),
  ]
  const modules = new Map(files.map((file) => [file, readModule(root, file, files)]))
  const peers = peersOf(root)
  return [...directions(modules, entries, peers), ...cycles(modules), ...exported(modules, entries)]
}

/** What a user of the package may have beside it. */
const peersOf = (root) =>
  Object.keys(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).peerDependencies ?? {})

/** The modules that the package exports. */
function entriesOf(root) {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const targets = Object.values(exports).map((entry) => posix.join(entry.default ?? entry))
  return targets.filter((target) => target.endsWith('.js'))
}

const filesIn = (root, folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((name) => name.endsWith('.js'))
    .map((name) => posix.join(folder, name.replaceAll('\\', '/')))

/** The text without comments, and what it requires: `name` as it is written, `file` as it is from the root. */
function readModule(root, file, files) {
  const text = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*/gm, '')
  const required = [...text.matchAll(/\brequire\(\s*['"](.+?)['"]\s*\)/g)].map(([, name]) => ({
    name,
    file: name.startsWith('.') ? resolve(file, name, files) : undefined,
  }))
  return { text, required }
}

function resolve(from, name, files) {
  const path = posix.join(posix.dirname(from), name)
  const folder = posix.join(path, 'index.js')
  if (files.includes(folder)) return folder
  return posix.extname(path) ? path : `${path}.js`
}

/** The packages of the platforms, and what stands for them in a checkout. */
const addons = /^lock-inc-|\/addon-built-here$|\.node$/

function* directions(modules, entries, peers) {
  for (const [file, { required }] of modules) {
    for (const { name, file: target } of required) {
      const inOptions = file.startsWith('lib/options/')
      const inBin = file.startsWith('bin/')
      if (addons.test(name)) {
        if (file !== 'lib/native.js') yield `${file}: requires ${name}, which only lib/native.js may`
      } else if (!target) {
        const isPeer = file.startsWith('otel/') && peers.includes(name)
        if (!name.startsWith('node:') && !isPeer)
          yield `${file}: requires ${name}, but the package has no dependencies`
      } else if (target === 'package.json') {
        // What it says of itself.
      } else if (!modules.has(target)) {
        yield `${file}: requires ${name}, which is not in lib/, bin/ or otel/`
      } else if (inBin) {
        yield* ofCommandLine(file, name, target, entries)
      } else if (target.startsWith('bin/')) {
        yield `${file}: requires ${name}, but the library knows nothing of the command line`
      } else if (target.startsWith('otel/') !== file.startsWith('otel/')) {
        yield `${file}: requires ${name}, but otel/ and the library know nothing of each other`
      } else if (target === 'index.js') {
        yield `${file}: requires index.js, which requires lib/`
      } else if (inOptions && !target.startsWith('lib/options/')) {
        yield `${file}: requires ${name}, but options are read without the rest of lib/`
      }
    }
  }
}

/**
 * The command line is a user of the package. Beside what that exports, it has the words in which options are refused, and the
 * check of Node.js that comes first.
 */
function* ofCommandLine(file, name, target, entries) {
  const isOpen = [...entries, 'lib/node-version.js'].includes(target) || target === 'lib/doctor/index.js'
  if (!isOpen && !target.startsWith('bin/') && !target.startsWith('lib/options/')) {
    yield `${file}: requires ${name}, but the command line uses what the package exports`
  }
  if (isCommand(target)) yield `${file}: requires ${name}, but commands know nothing of each other`
}

/** Commands are found by the names of their files. */
const isCommand = (file) => file.startsWith('bin/commands/') && file !== 'bin/commands/index.js'

const isRoot = (file, entries) => entries.includes(file) || file === 'bin/lock-inc.js' || isCommand(file)

function* cycles(modules) {
  const done = new Set()
  function* visit(file, way) {
    if (way.includes(file)) {
      yield `${file}: requires itself: ${[...way.slice(way.indexOf(file)), file].join(' -> ')}`
    } else if (!done.has(file)) {
      for (const { file: target } of modules.get(file)?.required ?? []) {
        if (target) yield* visit(target, [...way, file])
      }
      done.add(file)
    }
  }
  for (const file of modules.keys()) yield* visit(file, [])
}

function* exported(modules, entries) {
  for (const [file, { text }] of modules) {
    if (isRoot(file, entries)) continue
    const users = [...modules.values()].filter(({ required }) => required.some((one) => one.file === file))
    if (users.length === 0) yield `${file}: no module requires it`
    const [, list = ''] = text.match(/module\.exports = \{([^}]*)\}/) ?? []
    for (const name of list.match(/\w+/g) ?? []) {
      const used = new RegExp(`\\b${name}\\b`)
      if (!users.some(({ text }) => used.test(text))) yield `${file}: exports ${name}, but no module uses it`
    }
  }
}
