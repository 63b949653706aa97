'use strict'

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const readline = require('node:readline')
const { killAtExit, send } = require('./kill-at-exit')
const { until } = require('./until')

/**
 * Runs a script in a process of its own. `lockFactory` is there; `args` are its `args`. `files`: how many files it may have
 * open.
 */
function runNode(script, args = {}, { env, files } = {}) {
  const code = `
    const lockFactory = require(${JSON.stringify(path.join(__dirname, '../..'))})
    const args = ${JSON.stringify(args)}
    const tell = (message) => process.stdout.write(JSON.stringify(message) + '\\n')
    ${script}
  `
  const command = [process.execPath, '-e', code]
  if (files) command.unshift('sh', '-c', `ulimit -n ${files} && exec "$0" "$@"`)
  const child = killAtExit(spawn(command[0], command.slice(1), { env, stdio: ['pipe', 'pipe', 'pipe'] }))
  const messages = []
  let stderr = ''
  child.stderr.on('data', (data) => {
    stderr += data
  })
  readline.createInterface({ input: child.stdout }).on('line', (line) => messages.push(JSON.parse(line)))
  const ended = new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, stderr, messages }))
  })
  return { child, messages, ended }
}

/**
 * A process with a locker, which does as it is told: `send({ id, call, resource, options })` for `lock`, and for
 * `unlock`, `abort` and `block` of the call with that id. What comes of a `lock` is in `heard`, as `{ id, token }` or
 * `{ id, error }`.
 */
function runLocker(spec) {
  const process = runNode(
    `
    const locker = lockFactory(args)
    const locks = {}
    const controllers = {}
    const block = (ms) => { for (const end = Date.now() + ms; Date.now() < end; ); }
    require('node:readline').createInterface({ input: process.stdin }).on('line', async (line) => {
      const { id, call, resource, options } = JSON.parse(line)
      if (call === 'lock') {
        controllers[id] = new AbortController()
        const timeout = Number.POSITIVE_INFINITY
        try {
          locks[id] = await locker.lock(resource, { timeout, signal: controllers[id].signal, ...options })
          tell({ id, token: locks[id].token, at: Number(process.hrtime.bigint() / 1000n) })
        } catch (error) {
          tell({ id, error: error.code ?? error.name })
        }
      }
      if (call === 'unlock') {
        const at = Number(process.hrtime.bigint() / 1000n)
        tell({ id, unlocked: await locks[id].unlock(), at })
      }
      if (call === 'abort') controllers[id].abort()
      if (call === 'block') block(options.ms)
      if (call === 'held') tell({ id, held: locks[id].held })
    })
    locker.isLocked('x').then(() => tell('ready'))
    `,
    spec,
  )
  const send = (message) => process.child.stdin.write(`${JSON.stringify(message)}\n`)
  return { ...process, heard: process.messages, send }
}

/** Stops a process; it has stopped when this resolves. (A signal takes effect when some thread has been scheduled.) */
async function stop(child) {
  send(child, 'SIGSTOP')
  const tasks = `/proc/${child.pid}/task`
  const state = (task) => fs.readFileSync(`${tasks}/${task}/stat`, 'utf8').match(/\) (\w)/)[1]
  await until(() => fs.readdirSync(tasks).every((task) => state(task) === 'T'), 'the process has stopped')
}

function resume(child) {
  send(child, 'SIGCONT')
}

function kill(child) {
  send(child, 'SIGKILL')
}

module.exports = { runNode, runLocker, stop, resume, kill }
