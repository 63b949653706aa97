import fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import { inTurns } from '../lib/rounds.mjs'
import { against, perRound, spreads } from '../lib/rows.mjs'
import { binary, Server } from '../lib/server.mjs'
import { encode, Wire } from '../lib/wire.mjs'
import { NOW, PEERS, protocols } from '../protocols/index.mjs'

export const name = 'server'
export const title =
  'what a lock and its unlock cost the server, by protocol and version, with no client in the way'

const IN_FLIGHT = 512

export async function run({ rounds, quick, log }) {
  const result = { figures: {}, rounds: {}, facts: { bytes: bytes() }, failed: new Map(), rows: [] }
  for (const path of binaries()) {
    const server = await Server.start(path)
    const wire = await Wire.to(server.port)
    try {
      const version = await server.version()
      const names = await possible(server)
      const turn = (protocol) => cost(server, wire, protocols[protocol], quick ? 8 : 24)
      const { measured, failed } = await inTurns(names, rounds, turn, log)
      const us = perRound(measured, (cost) => cost)
      result.figures[`us on ${version}`] = spreads(us)
      result.rounds[version] = us
      for (const [protocol, why] of failed) result.failed.set(`${protocol} on ${version}`, why)
      // Peers could delete on a condition, too, and do not.
      const atMost = names.some((protocol) => protocols[protocol].needs) ? 1 : 1.3
      for (const protocol of names.filter((other) => other !== PEERS && us[other])) {
        const target = protocol === NOW ? { atMost } : {}
        result.rows.push(against(name, `${protocol}, ${version}`, us, protocol, PEERS, target))
      }
    } finally {
      wire.close()
      await server.stop()
    }
  }
  return result
}

/** The machine's own Redis, and those of the tests beside it. */
function binaries() {
  const folder = fileURLToPath(new URL('../../.servers/', import.meta.url))
  const others = fs.existsSync(folder)
    ? fs.readdirSync(folder).filter((file) => /^\w+-[\d.]+$/.test(file))
    : []
  return [binary, ...others.sort().map((file) => folder + file)]
}

/** The protocols for which the server has the commands. */
async function possible(server) {
  const known = async ({ needs }) => !needs || (await server.call('COMMAND', 'INFO', needs))[0] !== null
  const names = []
  for (const [name, protocol] of Object.entries(protocols)) if (await known(protocol)) names.push(name)
  return names
}

/** Locks so many names at a time and unlocks them, in long pipelines. CPU of the server's main thread for one, in us. */
async function cost(server, wire, { take, give }, batches) {
  await server.call('FLUSHALL')
  const numbers = Array.from({ length: IN_FLIGHT }, (_, index) => String(index).padStart(12, '0'))
  const commands = [take(numbers), give(numbers)]
  for (const [first] of commands.flat()) {
    if (first.source !== undefined) await server.call('SCRIPT', 'LOAD', first.source)
  }
  const [takes, gives] = commands.map((half) => half.map(encode).join(''))
  const cycles = async (count) => {
    for (let batch = 0; batch < count; batch++) {
      await wire.send(takes)
      await wire.send(gives)
    }
  }
  await wire.send(takes)
  const held = (await server.call('DBSIZE')) >= IN_FLIGHT
  await wire.send(gives)
  const left = await server.call('DBSIZE')
  // The register stays.
  if (!held || left > 1) throw new Error('it does not do what it should')
  await cycles(batches >> 2)
  const before = await server.cpu()
  await cycles(batches)
  return ((await server.cpu()) - before) / (batches * IN_FLIGHT)
}

/** How many bytes a client sends for a lock and its unlock. */
function bytes() {
  const numbers = Array.from({ length: 16 }, () => '1'.repeat(12))
  const size = ({ take, give }) => [...take(numbers), ...give(numbers)].map(encode).join('').length / 16
  return Object.fromEntries(Object.entries(protocols).map(([name, protocol]) => [name, size(protocol)]))
}
