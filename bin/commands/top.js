'use strict'

const { setTimeout: sleep } = require('node:timers/promises')
const { orderOf } = require('../arguments/order')
const { timeOf } = require('../arguments/time')
const { EXIT, bySignal } = require('../exit-codes')
const { orders } = require('../locks/rows')
const { Screen } = require('../top/screen')
const { View } = require('../top/view')
const { UsageError } = require('../usage-error')

/** Which may end this program. @type {NodeJS.Signals[]} */
const ENDING = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM']

/** @type {import('.').Command} */
module.exports = {
  summary: 'shows who holds and who waits, live',
  help: `
Keys: q quits; / filters by what a name contains, or by a pattern as for ls; s sorts by the next key; the arrows,
Page Up and Page Down scroll; Ctrl+Z stops. Needs a terminal.`,
  options: {
    interval: { type: 'string', value: 'TIME', help: 'between two looks. Default: 1s' },
    sort: { type: 'string', value: 'KEY', help: `${Object.keys(orders).join(', ')}. Default: name` },
  },
  exitCodes: {
    [EXIT.done]: 'ended by q',
    '128 + n': 'ended by signal n, or 130 by Ctrl+C',
  },

  async run(context) {
    if (!process.stdin.isTTY || !process.stdout.isTTY || process.env.TERM === 'dumb') {
      throw new UsageError('top needs a terminal; lock-inc ls lists the same once')
    }
    const { interval = '1s' } = context.options
    const every = timeOf('interval', interval, { min: 100, max: 3_600_000 })
    const view = new View(context.prefix, orderOf(context.options), context.paint)
    const locker = context.openLocker()
    // If there is no Redis, that is said before the screen is taken.
    view.snapshot = await locker.query()
    return show(locker, view, every)
  },
}

/**
 * Resolves to the exit code.
 *
 * @param {import('../..').Locker} locker
 * @param {View} view
 * @param {number} every Milliseconds.
 */
async function show(locker, view, every) {
  const ended = new AbortController()
  let code = EXIT.done
  /** @param {number} how */
  const end = (how) => {
    code = how
    ended.abort()
  }
  const screen = new Screen((key) => {
    if (key.ctrl && key.name === 'c') return end(bySignal('SIGINT'))
    if (key.ctrl && key.name === 'z') return stop(screen, draw)
    if (!view.isTyping && key.name === 'q') return end(EXIT.done)
    view.press(key)
    draw()
  })
  const draw = () => screen.draw(view.lines(screen))
  for (const signal of ENDING) process.on(signal, () => end(bySignal(signal)))
  process.stdout.on('resize', draw)
  // Also while an answer of Redis is awaited.
  const ending = new Promise((resolve) => ended.signal.addEventListener('abort', resolve))
  screen.enter()
  try {
    while (!ended.signal.aborted) {
      draw()
      await sleep(every, undefined, { signal: ended.signal }).catch(() => {})
      if (!ended.signal.aborted) await Promise.race([look(locker, view), ending])
    }
  } finally {
    screen.leave()
  }
  return code
}

/** What is wrong is shown, and is over with the next look that succeeds. @param {import('../..').Locker} locker @param {View} view */
async function look(locker, view) {
  try {
    view.snapshot = await locker.query()
    view.trouble = ''
  } catch (/** @type {any} */ error) {
    view.trouble = error.message
  }
}

/** Gives the terminal back until this program goes on. @param {Screen} screen @param {() => void} draw */
function stop(screen, draw) {
  screen.leave()
  process.once('SIGCONT', () => {
    screen.enter()
    draw()
  })
  process.kill(process.pid, 'SIGTSTP')
}
