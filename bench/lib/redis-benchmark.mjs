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

/** Sends one call over and over. Calls a second, and µs of each and commands inside by the server's own count. */
async function send(server, call, { pipeline, requests, range }) {
  const source = script(call.name)
  await server.call('SCRIPT', 'LOAD', source)
  const options = ['-p', server.port, '-c', 1, '-P', pipeline, '-n', requests, '-r', range, '--csv']
  await server.resetCounters()
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
  return { rate: found, ...(await server.scriptCost()) }
}

/** What redis-benchmark sends of acquires on free names. */
export async function sendAcquires(server, options) {
  await server.call('FLUSHALL')
  const sent = await send(server, calls.acquire(ANY), { ...options, range: MANY })
  check((await server.call('DBSIZE')) / options.requests, 'acquire')
  return sent
}

/** The same for a call about random ones of ten times as many names that are held. */
async function sendToHeld(server, call, options) {
  const range = options.requests * 10
  await server.call('FLUSHALL')
  await fill(server, range)
  return send(server, call, { ...options, range })
}

export const sendRenewals = (server, options) => sendToHeld(server, calls.renew(ANY), options)

export async function sendReleases(server, options) {
  const sent = await sendToHeld(server, calls.release(ANY), options)
  const left = await server.call('DBSIZE')
  check((options.requests * 10 - left) / options.requests, 'release')
  return sent
}

/** Else a script does not get what it expects, and does less than its work. */
function check(done, name) {
  if (done < 0.8) {
    throw new Error(`contestants/our-scripts.mjs does not fit the scripts any more: ${name} does not work`)
  }
}

/**
 * Cycles of acquire and release a second that the server does for one connection with so many commands in flight.
 * redis-benchmark sends one command over and over: so all acquires of names that are free, then all releases of
 * random ones of ten times as many that are held (one in ten finds a lock or its record gone).
 */
export async function scriptFloor(server, { inFlight, requests }) {
  const options = { pipeline: inFlight, requests }
  const acquires = (await sendAcquires(server, options)).rate
  const releases = (await sendReleases(server, options)).rate
  await server.call('FLUSHALL')
  return { rate: 1 / (1 / acquires + 1 / releases), acquires, releases }
}
