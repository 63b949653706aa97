import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { calls, script, sha } from '../contestants/our-scripts.mjs'

const run = promisify(execFile)

// What redis-benchmark replaces by 12 random digits in each command.
const ANY = '__rand_int__'
// The largest range that it takes.
const MANY = 2 ** 31 - 1

/** Takes the locks with the numbers 0 to `count`, inside the server: a million round trips would take too long. */
async function fill(server, count) {
  const { name, keys, args } = calls.acquire(ANY)
  const quoted = (strings) => strings.map((text) => JSON.stringify(text).replaceAll(ANY, '" .. number .. "'))
  const source = `
    local function acquire(KEYS, ARGV)
      ${script(name)}
    end
    for index = tonumber(ARGV[1]), tonumber(ARGV[2]) - 1 do
      local number = string.format('%012d', index)
      acquire({${quoted(keys)}}, {${quoted(args)}})
    end`
  const page = 20_000
  for (let from = 0; from < count; from += page) {
    await server.call('EVAL', source, 0, from, Math.min(count, from + page))
  }
}

async function rate(server, call, { pipeline, requests, range }) {
  const source = script(call.name)
  await server.call('SCRIPT', 'LOAD', source)
  const options = ['-p', server.port, '-c', 1, '-P', pipeline, '-n', requests, '-r', range, '--csv']
  const command = ['evalsha', sha(source), call.keys.length, ...call.keys, ...call.args]
  const { stdout, stderr } = await run('redis-benchmark', [...options, ...command].map(String), {
    timeout: 60_000,
  })
  // The last line: name, requests a second, latencies.
  const fields = stdout
    .trim()
    .split('\n')
    .at(-1)
    .match(/"[^"]*"/g)
  const found = Number(fields?.at(1)?.slice(1, -1))
  if (!(found > 0)) throw new Error(`redis-benchmark: ${stderr || stdout}`)
  return found
}

/**
 * Cycles of acquire and release a second that the server does for one connection with so many commands in flight.
 * redis-benchmark sends one command over and over: so all acquires of names that are free, then all releases of
 * random ones of ten times as many that are held (one in twenty hits a name that is released already).
 */
export async function scriptFloor(server, { inFlight, requests }) {
  await server.call('FLUSHALL')
  const common = { pipeline: inFlight, requests }
  const acquires = await rate(server, calls.acquire(ANY), { ...common, range: MANY })
  const acquired = (await server.call('DBSIZE')) / requests
  await server.call('FLUSHALL')
  await fill(server, requests * 10)
  const before = await server.call('DBSIZE')
  const releases = await rate(server, calls.release(ANY), { ...common, range: requests * 10 })
  const released = (before - (await server.call('DBSIZE'))) / requests
  await server.call('FLUSHALL')
  // Each lock is a key at least. Else the scripts do not get what they expect, and do less than their work.
  if (acquired < 0.9 || released < 0.9) {
    throw new Error(
      'contestants/our-scripts.mjs does not fit the scripts any more: they took or freed no locks',
    )
  }
  return { rate: 1 / (1 / acquires + 1 / releases), acquires, releases }
}
