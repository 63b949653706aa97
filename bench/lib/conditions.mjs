import { execFileSync } from 'node:child_process'
import os from 'node:os'
import { contestants } from '../contestants/index.mjs'
import { installedVersion } from './packages.mjs'
import { binary } from './server.mjs'

/** Under which conditions figures were measured: without them, they mean nothing. */
export function conditions({ rounds, quick }) {
  return {
    date: new Date().toISOString(),
    rounds,
    quick,
    cpu: os.cpus()[0]?.model.trim(),
    cores: os.cpus().length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    kernel: `${os.type()} ${os.release()}`,
    node: process.version,
    server: execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim(),
    redisBenchmark: versionOf('redis-benchmark'),
    contestants: Object.fromEntries(
      Object.entries(contestants).map(([name, { label, package: own, client, settings }]) => {
        const of = client in versions ? versions[client] : versionedClient(client)
        return [name, { label, version: installedVersion(own), client: of, settings }]
      }),
    ),
  }
}

const versions = { 'its own': 'its own' }

function versionedClient(alias) {
  return `${alias.replace(/-\d+$/, '')} ${installedVersion(alias)}`
}

function versionOf(program) {
  try {
    return execFileSync(program, ['--version'], { encoding: 'utf8' }).trim()
  } catch {
    return 'not installed: the floors are not measured'
  }
}
