import { execFile } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const bench = fileURLToPath(new URL('..', import.meta.url))
const root = path.join(bench, '..')
const modules = path.join(bench, 'node_modules')

/** The version that is installed of a package, or of an alias. */
export function installedVersion(name) {
  const directory = name === 'lock-inc' ? root : path.join(modules, name)
  return JSON.parse(fs.readFileSync(path.join(directory, 'package.json'), 'utf8')).version
}

/** The addon that was built for this platform. */
export function platformBinary() {
  const loaded = Object.keys(createRequire(import.meta.url).cache).find((file) => file.endsWith('.node'))
  if (loaded) return loaded
  createRequire(import.meta.url)('../..')
  return Object.keys(createRequire(import.meta.url).cache).find((file) => file.endsWith('.node'))
}

/** What npm would publish of the package itself, without the addon: that is a package of its own. */
export async function publishedSize() {
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root })
  const report = JSON.parse(stdout)
  const { size, unpackedSize, entryCount } = Array.isArray(report) ? report[0] : Object.values(report)[0]
  return { packed: size, unpacked: unpackedSize, files: entryCount }
}

/** Bytes of a package, its client, and all that these two bring along. */
export function closureSize({ package: name, client }) {
  const seen = new Set()
  const visit = (name, from) => {
    const directory = resolve(name, from)
    if (directory === undefined || seen.has(directory)) return
    seen.add(directory)
    const { dependencies = {} } = JSON.parse(fs.readFileSync(path.join(directory, 'package.json'), 'utf8'))
    for (const dependency of Object.keys(dependencies)) visit(dependency, directory)
  }
  visit(name, bench)
  visit(client, bench)
  const unpacked = Array.from(seen, size).reduce((sum, bytes) => sum + bytes, 0)
  return { unpacked, packages: seen.size }
}

/** Where a package is found from within another one. */
function resolve(name, from) {
  for (let directory = from; directory.startsWith(bench.slice(0, -1)); directory = path.dirname(directory)) {
    const found = path.join(directory, 'node_modules', name)
    if (fs.existsSync(path.join(found, 'package.json'))) return found
  }
  return undefined
}

/** Of a package's own files, without those of packages inside it. */
function size(directory) {
  return fs.readdirSync(directory, { withFileTypes: true }).reduce((sum, entry) => {
    const file = path.join(directory, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' ? sum : sum + size(file)
    return sum + (entry.isFile() ? fs.statSync(file).size : 0)
  }, 0)
}
