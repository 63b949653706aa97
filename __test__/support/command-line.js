'use strict'

const { spawn } = require('node:child_process')
const path = require('node:path')
const { killAtExit, send } = require('./kill-at-exit')
const { until } = require('./until')

const program = path.join(__dirname, '../../bin/lock-inc.js')

/** The words that run it from elsewhere than `node:child_process`, where Deno puts in its own; and the same for a shell. */
const words = [process.execPath, ...(process.versions.deno ? ['run', '--allow-all'] : []), program]
const inShell = words.map((word) => `"${word}"`).join(' ')

/** Nothing of our own environment that the command line reads. */
function environment(more) {
  const own = Object.entries(process.env).filter(([name]) => !/^LOCK_INC_|^REDIS_URL$|^NO_COLOR$/.test(name))
  return { ...Object.fromEntries(own), TERM: 'xterm', ...more }
}

/**
 * `lock-inc` in a process of its own, without a terminal. `ended` resolves to `{ code, signal, stdout, stderr }`; `output` has the
 * two texts as they are now. `input`: all of stdin, or `null` where the test writes it.
 */
function lockInc(args, { env, input = '', stdio = 'pipe' } = {}) {
  const child = killAtExit(
    spawn(process.execPath, [program, ...args], {
      env: environment(env),
      // A session without a terminal, wherever the tests run.
      detached: true,
      stdio,
    }),
  )
  if (input !== null) child.stdin?.end(input)
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr']) {
    child[name]?.setEncoding('utf8').on('data', (text) => {
      output[name] += text
    })
  }
  const ended = new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, ...output }))
  })
  return { child, output, ended, signal: (name) => send(child, name) }
}

/**
 * The same at a terminal. `press(keys)` types; `screen()` is all that was written so far; `ended` resolves to
 * `{ code, isAsBefore, text }`, the code of a process that a signal has ended being negative.
 */
async function atTerminal(command, { env, columns = 100, rows = 20 } = {}) {
  const helper = [path.join(__dirname, 'terminal.py'), columns, rows, ...command]
  const child = killAtExit(spawn('python3', helper.map(String), { env: environment(env) }))
  let [text, told] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (data) => {
    text += data
  })
  child.stderr.setEncoding('utf8').on('data', (data) => {
    told += data
  })
  const ended = new Promise((resolve, reject) => {
    child.once('close', () => {
      const [, end] = told.split('\n')
      if (end) resolve({ ...JSON.parse(end), text })
      else reject(new Error(`There is no terminal: ${told}`))
    })
  })
  ended.catch(() => {})
  await Promise.race([until(() => told.includes('\n'), 'the terminal is there'), ended])
  const pid = Number.parseInt(told, 10)
  return {
    pid,
    ended,
    press: (keys) => child.stdin.write(keys),
    screen: () => text,
    sees: (what) => until(() => text.includes(what), `the screen has ${JSON.stringify(what)}`),
    signal: (name) => process.kill(pid, name),
  }
}

const lockIncAtTerminal = (args, options) => atTerminal([...words, ...args], options)

module.exports = { atTerminal, inShell, lockInc, lockIncAtTerminal, program }
