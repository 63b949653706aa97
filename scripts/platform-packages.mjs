// Makes a package for each platform of `napi.targets`, in npm/: node scripts/platform-packages.mjs [folder]
// `folder` is where package.json is, and artifacts/ with the addons; else the current one. What is there is published.
import { spawnSync } from 'node:child_process'
import { copyFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = process.argv[2] ?? process.cwd()

function napi(...args) {
  const command = fileURLToPath(new URL('../node_modules/.bin/napi', import.meta.url))
  const { status, error } = spawnSync(command, args, { cwd: folder, stdio: 'inherit' })
  if (status !== 0) throw error ?? new Error(`napi ${args.join(' ')} ended with ${status}`)
}

napi('create-npm-dirs')
napi('artifacts')
// Each of them is distributed by itself, and the licence asks to go along.
for (const name of readdirSync(join(folder, 'npm'))) {
  copyFileSync(join(folder, 'LICENSE'), join(folder, 'npm', name, 'LICENSE'))
}
