// Our own acquire and release as redis-benchmark can send them. This is the one place to adapt when the scripts
// get other keys or arguments: `calls` mirrors what src/driver/redis/mod.rs sends.
import { createHash } from 'node:crypto'
import fs from 'node:fs'

const sources = new URL('../../src/driver/redis/', import.meta.url)
const read = (name) => fs.readFileSync(new URL(name, sources), 'utf8')

/** The source of a script, put together of the parts that scripts.rs lists for it. */
export function script(name) {
  const [, definition] = read('scripts.rs').match(new RegExp(`pub static ${name}\\b([^;]*);`)) ?? []
  if (definition === undefined) throw new Error(`scripts.rs has no ${name}`)
  const parts = Array.from(definition.matchAll(/include_str!\("([^"]+)"\)/g), ([, part]) => part)
  return parts.map(read).join('')
}

export const sha = (source) => createHash('sha1').update(source).digest('hex')

const PREFIX = 'bench:'
// 22 and 44 characters, as nonces and hashes have.
const NONCE = 'AAAAAAAAAAAAAAAAAAAAAA'
const hashed = (number) => `${'='.repeat(32)}${number}`
const RECORD = `AAAAAAAAAAAAAAAAAAAAAA 12345 host cycles 0`
const LEASE_MS = '60000'

/** Keys and arguments of each script, for the lock with this number: 12 digits, or what stands for them. */
export const calls = {
  acquire(number) {
    const lock = PREFIX + hashed(number)
    return {
      name: 'ACQUIRE',
      keys: [lock, `${lock}:owner`, `${PREFIX}fence`],
      args: [NONCE, LEASE_MS, RECORD],
    }
  },
  release(number) {
    const lock = PREFIX + hashed(number)
    return { name: 'RELEASE', keys: [lock, `${lock}:owner`], args: [NONCE] }
  },
}
