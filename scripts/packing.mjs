// Makes the packages that a release publishes, from copies in a temporary folder. The addon must have been built.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** Runs a command, and fails with its output if it fails. */
export function run(cwd, command, ...args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (status !== 0) throw error ?? new Error(`${[command, ...args].join(' ')} failed:\n${stdout}${stderr}`)
  return stdout
}

export const tool = (cwd, name, ...args) => run(cwd, join(root, 'node_modules/.bin', name), ...args)

export const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'))

/** Packs a folder as npm would publish it: the archive, in `into`, and the names of its files. */
export function pack(folder, into) {
  const [packed] = Object.values(JSON.parse(run(folder, 'npm', 'pack', '--json', '--pack-destination', into)))
  return { file: join(into, packed.filename), files: packed.files.map(({ path }) => path).sort() }
}

/** The addon of this machine. */
export function addon() {
  const built = readdirSync(root).filter((name) => name.endsWith('.node'))
  assert.equal(built.length, 1, `one addon should have been built (npm run build), there are ${built.length}`)
  return { file: join(root, built[0]), platform: built[0].split('.')[1] }
}

/** The platforms of `napi.targets`, each with the folder of its package. */
export function platformsOf(stage) {
  return readdirSync(join(stage, 'npm')).map((name) => ({ name, folder: join(stage, 'npm', name) }))
}

/** Makes the packages, as a release does. The folder of the main one, with the others in its `npm/`. */
export function stagePackages(work) {
  const stage = join(work, 'package')
  run(work, 'tar', '-xzf', pack(root, work).file)
  tool(stage, 'napi', 'create-npm-dirs')
  // The addons of other platforms are made elsewhere. Here any file does for them: only our own one is run.
  mkdirSync(join(stage, 'artifacts'))
  for (const { name } of platformsOf(stage)) {
    copyFileSync(addon().file, join(stage, 'artifacts', `lock-inc.${name}.node`))
  }
  run(root, process.execPath, 'scripts/platform-packages.mjs', stage)
  tool(stage, 'napi', 'pre-publish', '--tag-style', 'npm', '--no-gh-release', '--skip-optional-publish')
  return stage
}

/** Installs the packed packages in a folder. Offline: nothing but these is needed. */
export function install(app, ...files) {
  run(app, 'npm', 'install', '--offline', '--no-save', '--no-audit', '--no-fund', ...files)
}
