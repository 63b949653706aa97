import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const children = new Set()
const directories = new Set()

/** However the run ends, what it started ends with it. */
export function killAtExit(child) {
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

/** A folder that is gone after the run. */
export function temporaryDirectory() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-bench-'))
  directories.add(directory)
  return directory
}

function cleanUp() {
  for (const child of children) child.kill('SIGKILL')
  for (const directory of directories) fs.rmSync(directory, { recursive: true, force: true })
}

process.once('exit', cleanUp)
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
]) {
  process.once(signal, () => process.exit(code))
}
