// Our own acquire and release as redis-benchmark can send them. This is the one place to adapt when the scripts
// get other keys or arguments: `calls` mirrors what crates/redis/src/operations/ sends.
import { createHash } from 'node:crypto'
import scripts from '../../__test__/support/scripts.js'

/** The source of the script of an operation. */
export const script = (name) => scripts.script(name.toLowerCase())

export const sha = (source) => createHash('sha1').update(source).digest('hex')

const PREFIX = 'bench:'
// As long as real ones: a nonce, a client's id, a token that none is below, and the base64 of a hash with 12 digits in it.
const NONCE = '1'.repeat(13)
const CLIENT = 'b'.repeat(16)
const TOKEN = '1700000000000000'
const hashed = (number) => `${'C'.repeat(31)}${number}=`
const LEASE_MS = '60000'
const RECORD = `${CLIENT} 12345 host cycles 0`
const CHANNELS = `${PREFIX}client:`

function keysOf(number) {
  const lock = PREFIX + hashed(number)
  return [lock, `${lock}:clients`, `${lock}:holders`, `${lock}:queue`, `${PREFIX}fence`]
}

/**
 * Keys and arguments of each script, for the lock with this number: 12 digits, or what stands for them. What a
 * script does not know yet it does not look at.
 */
export const calls = {
  acquire: (number) => ({
    name: 'ACQUIRE',
    keys: keysOf(number),
    args: [NONCE, LEASE_MS, '0', CHANNELS],
  }),
  release: (number) => ({ name: 'RELEASE', keys: keysOf(number), args: [NONCE, CLIENT, CHANNELS] }),
  renew: (number) => {
    const keys = keysOf(number).slice(0, 3)
    return { name: 'RENEW', keys, args: [NONCE, LEASE_MS, 'raise', '0', TOKEN, RECORD] }
  },
}

/** What a lock holds that nobody has come for. */
const WORD = `${NONCE}000001`

/** What is sent for takes and gives that leave together. */
export const takes = (numbers) => [
  ['MULTI'],
  ['INCRBY', `${PREFIX}fence`, String(numbers.length)],
  ...numbers.map((number) => ['SET', keysOf(number)[0], WORD, 'NX', 'PX', LEASE_MS]),
  ['EXISTS', ...numbers.map((number) => keysOf(number)[3])],
  ['EXEC'],
]
export const gives = (numbers) => ({
  name: 'GIVE',
  keys: numbers.map((number) => keysOf(number)[0]),
  args: numbers.map(() => WORD),
})

/** How many bytes a call has on the wire. */
export function bytesOf({ name, keys, args }) {
  const parts = ['EVALSHA', sha(script(name)), String(keys.length), ...keys, ...args]
  const sizes = parts.map((part) => `$${part.length}\r\n`.length + part.length + 2)
  return sizes.reduce((sum, size) => sum + size, `*${parts.length}\r\n`.length)
}
