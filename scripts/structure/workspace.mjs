// The packages of the workspace, and their sources as tokens.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readSource } from './rust.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The model checks are a workspace of their own, and use a crate of this one. */
const manifests = ['Cargo.toml', 'crates/exec/loom/Cargo.toml']

/** Of each package: its name, its dependencies, and `src`, `rest` (tests and the like) and `build`, which are sources. */
export function readWorkspace() {
  const packages = manifests.flatMap((manifest) => metadata(manifest).packages.map(readPackage))
  return { root, packages }
}

function metadata(manifest) {
  const args = ['metadata', '--no-deps', '--format-version', '1', '--locked', '--manifest-path', manifest]
  return JSON.parse(execFileSync('cargo', args, { cwd: root, encoding: 'utf8' }))
}

function readPackage({ name, manifest_path, dependencies, targets }) {
  const folder = dirname(manifest_path)
  const library = targets.some(({ kind }) => kind.includes('lib'))
  const sources = (part) =>
    rustFiles(join(folder, part)).map((file) => readSource(relative(root, file), file))
  return {
    name,
    manifest: relative(root, manifest_path),
    library,
    dependencies,
    src: sources('src'),
    rest: ['tests', 'benches', 'examples'].flatMap(sources),
    build: sources('build.rs'),
  }
}

function rustFiles(path) {
  try {
    return readdirSync(path, { recursive: true })
      .filter((name) => name.endsWith('.rs'))
      .map((name) => join(path, name))
  } catch (error) {
    if (error.code === 'ENOTDIR') return [path]
    if (error.code === 'ENOENT') return []
    throw error
  }
}

export const textOf = (file) => readFileSync(join(root, file), 'utf8')
