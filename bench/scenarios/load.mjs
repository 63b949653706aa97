import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { contestants, OURS, peers } from '../contestants/index.mjs'
import { closureSize, platformBinary, publishedSize } from '../lib/packages.mjs'
import { inTurns } from '../lib/rounds.mjs'
import { against, best, line, perRound, spreads } from '../lib/rows.mjs'
import { Server } from '../lib/server.mjs'

export const name = 'load'
export const title = '`require` and first lock in a fresh process; size of packages'

const run_ = promisify(execFile)
const bench = fileURLToPath(new URL('..', import.meta.url))

export async function run({ rounds, log }) {
  const server = await Server.start()
  const names = [OURS, ...peers]
  const { measured, failed } = await inTurns(names, rounds + 1, (name) => fresh(name, server.port), log)
  await server.stop()
  // The first time reads files that are in the cache of the system afterwards.
  for (const rounds of measured.values()) rounds.shift()

  const required = perRound(measured, ({ required }) => required)
  const first = perRound(measured, ({ first }) => first)
  const binary = platformBinary()
  const sizes = {
    [OURS]: { ...(await publishedSize()), binary: fs.statSync(binary).size },
    ...Object.fromEntries(peers.map((name) => [name, closureSize(contestants[name])])),
  }
  return {
    figures: { 'require, ms': spreads(required), 'first lock, ms': spreads(first) },
    rounds: { 'require, ms': required, 'first lock, ms': first },
    sizes,
    failed,
    rows: [
      line(name, 'require, ms', '1 ms', required[OURS] ?? [], { atMost: 25 }),
      against(name, 'require', required, OURS, best(required, peers)),
      against(name, 'start to first lock', first, OURS, best(first, peers)),
      line(name, `${path.basename(binary)}, MiB`, '1 MiB', [sizes[OURS].binary / 2 ** 20], { atMost: 4 }),
    ],
  }
}

/** A process that loads the packages of a contestant, takes a lock, and is gone. */
async function fresh(contestant, port) {
  const script = path.join(bench, 'lib/first-lock.mjs')
  const { stdout } = await run_(process.execPath, [script, contestant, String(port)], { timeout: 20_000 })
  return JSON.parse(stdout)
}
