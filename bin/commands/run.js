'use strict'

const { timeOf } = require('../arguments/time')
const { EXIT, bySignal } = require('../exit-codes')
const { Child } = require('../run/child')
const { onSignal } = require('../run/signals')
const { party, quoted, span } = require('../text/words')
const { UsageError } = require('../usage-error')

const FOREVER = Number.POSITIVE_INFINITY

/** @type {import('.').Command} */
module.exports = {
  summary: 'runs a command under a lock',
  help: `
Waits for the lock, runs the command, renews the lock while it runs, and unlocks when it has ended. The command
has LOCK_INC_NAME in its environment, and in LOCK_INC_TOKEN the fencing token: a number that increases with
each grant. Send it along with what the command writes, and a store can refuse what comes too late.

Signals are passed on to the command; while the lock is waited for they end the waiting. If the lock is lost,
the command gets a SIGTERM, and a SIGKILL if it is still there after a while.`,
  positionals: ['NAME'],
  rest: 'COMMAND [ARGUMENT...]',
  options: {
    timeout: { type: 'string', value: 'TIME', help: 'waits for so long at the most. Default: for ever' },
    'no-wait': { type: 'boolean', help: 'does not wait while somebody else holds the lock' },
    expire: {
      type: 'string',
      value: 'TIME',
      help: 'the lease: how long the lock outlives this process. Default: 60s',
    },
    shared: { type: 'boolean', help: 'a shared lock, beside others that are shared' },
    limit: { type: 'string', value: 'N', help: 'a semaphore: shared by N at the most' },
    grace: { type: 'string', value: 'TIME', help: 'between SIGTERM and SIGKILL. Default: 5s' },
    'conflict-exit-code': {
      type: 'string',
      short: 'E',
      value: 'CODE',
      help: `ends with this where the lock is not to be had. Default: ${EXIT.locked}`,
    },
    quiet: { type: 'boolean', short: 'q', help: 'does not say that the lock is not to be had' },
  },
  exitCodes: {
    n: 'that of the command; 128 + n where signal n has ended it',
    [EXIT.locked]: 'the lock was not to be had; see --conflict-exit-code',
    [EXIT.lost]: 'the lock was lost before the command had ended',
    [EXIT.notExecutable]: 'the command cannot be run',
    [EXIT.notFound]: 'there is no such command',
    '128 + n': 'signal n has ended the waiting',
  },

  async run(context) {
    const how = read(context.options)
    const [name = ''] = context.positionals
    const waiting = new AbortController()
    /** @type {Child | undefined} */
    let child
    onSignal((signal) => {
      if (child) return child.pass(signal)
      // Whoever asks twice does not want to wait for Redis to learn of it.
      if (waiting.signal.aborted) process.exit(bySignal(signal))
      waiting.abort(signal)
    })
    let lock
    try {
      lock = await take(context, name, how, waiting.signal)
    } catch (/** @type {any} */ error) {
      if (waiting.signal.aborted) return bySignal(waiting.signal.reason)
      if (error?.code !== 'ERR_RESOURCE_LOCKED') throw error
      if (!how.quiet) context.say(`${quoted(name)} is locked: ${holderOf(error)}`)
      return how.conflict
    }
    child = new Child(context.rest, {
      ...process.env,
      LOCK_INC_NAME: name,
      LOCK_INC_TOKEN: String(lock.token),
    })
    return guard(context, lock, child, how.grace)
  },
}

/** @param {{ [name: string]: any }} options */
function read({ timeout, expire = '60s', shared, limit, grace = '5s', quiet, ...others }) {
  if (timeout !== undefined && others['no-wait']) {
    throw new UsageError('--timeout does not go with --no-wait: both say how long to wait')
  }
  const wait = timeout === undefined ? FOREVER : timeOf('timeout', timeout, { min: 0, max: FOREVER })
  const isShared = shared || limit !== undefined
  return {
    wait: others['no-wait'] ? 0 : wait,
    grace: timeOf('grace', grace, { min: 0, max: 3_600_000 }),
    conflict: whole('conflict-exit-code', others['conflict-exit-code'] ?? String(EXIT.locked), 0, 255),
    quiet,
    /** @type {import('../..').LockOptions} */
    options: {
      renew: true,
      expire: `${timeOf('expire', expire, { min: 10, max: 1e12 })}ms`,
      mode: isShared ? 'shared' : 'exclusive',
      ...(limit !== undefined && { limit: whole('limit', limit, 1, 2_147_483_647) }),
    },
  }
}

/** @param {string} option @param {string} text @param {number} min @param {number} max */
function whole(option, text, min, max) {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (number >= min && number <= max) return number
  throw new UsageError(`--${option} must be a whole number from ${min} to ${max}`)
}

/**
 * One attempt first, which fails if there is no Redis. What waits goes on through that.
 *
 * @param {import('../context').Context} context
 * @param {string} name
 * @param {ReturnType<typeof read>} how
 * @param {AbortSignal} signal
 */
async function take(context, name, { wait, options }, signal) {
  const { commandTimeout } = context.spec.settings
  const locker = context.openLocker(
    wait > 0 && wait < commandTimeout ? { commandTimeout: Math.ceil(wait) } : {},
  )
  const start = performance.now()
  try {
    return await locker.lock(name, { ...options, signal })
  } catch (/** @type {any} */ error) {
    const left = wait - (performance.now() - start)
    if (error?.code !== 'ERR_RESOURCE_LOCKED' || left <= 0) throw error
    if (process.stderr.isTTY) context.say(`waits for ${quoted(name)}: ${holderOf(error)}`)
    return locker.lock(name, { ...options, signal, timeout: left })
  }
}

/** @param {import('../..').ResourceLockedError} error */
function holderOf({ holder, leaseLeft }) {
  return `${party(holder)} holds it, with ${span(leaseLeft)} left of its lease`
}

/**
 * Keeps the lock until the command has ended, and ends the command if the lock is lost. Resolves to the exit code.
 *
 * @param {import('../context').Context} context
 * @param {import('../..').Lock} lock
 * @param {Child} child
 * @param {number} grace
 */
async function guard(context, lock, child, grace) {
  /** @type {Promise<void> | undefined} */
  let ending
  const onLoss = () => {
    context.say(`${lock.signal.reason.message}. The command is ended`)
    ending = child.end(grace)
  }
  lock.signal.addEventListener('abort', onLoss)
  let code
  try {
    code = codeOf(await child.ended)
  } catch (error) {
    code = failureOf(context, error)
  }
  lock.signal.removeEventListener('abort', onLoss)
  await ending
  const wasHeld = await release(context, lock)
  return ending || !wasHeld ? EXIT.lost : code
}

/** @param {{ code: number, signal: NodeJS.Signals | null }} end */
function codeOf({ code, signal }) {
  return signal ? bySignal(signal) : code
}

/** @param {import('../context').Context} context @param {any} error Why the command could not be started. */
function failureOf(context, { code, message }) {
  const [program = ''] = context.rest
  if (code === 'ENOENT') {
    context.say(`there is no command ${quoted(program)}`)
    return EXIT.notFound
  }
  context.say(`${quoted(program)} cannot be run: ${message}`)
  return EXIT.notExecutable
}

/** Whether the lock was held until now, as far as is known. @param {import('../context').Context} context @param {import('../..').Lock} lock */
async function release(context, lock) {
  const { held } = lock
  try {
    const wasHeld = await lock.unlock()
    if (held && !wasHeld) context.say('the lock was lost before the command had ended')
    return wasHeld
  } catch (/** @type {any} */ error) {
    context.say(`the lock was not unlocked, and ends with its lease: ${error.message}`)
    return held
  }
}
