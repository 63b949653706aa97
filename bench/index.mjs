// Gets what the benchmarks need, and runs them. Nothing here may import a package.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const here = fileURLToPath(new URL('.', import.meta.url))
const lock = new URL('package-lock.json', import.meta.url)
const installed = new URL('node_modules/.package-lock.json', import.meta.url)

if (!fs.readdirSync(new URL('..', import.meta.url)).some((name) => name.endsWith('.node'))) {
  console.error('There is no addon to measure yet: npm run build')
  process.exit(1)
}
if (!fs.existsSync(installed) || fs.statSync(installed).mtimeMs < fs.statSync(lock).mtimeMs) {
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: here, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
const { values } = parseArgs({ strict: false, options: { beside: { type: 'string' } } })
if (values.beside) process.env.LOCK_INC_BESIDE = path.resolve(values.beside)
await import('./run.mjs')
