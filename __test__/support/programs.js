'use strict'

const { spawn } = require('node:child_process')
const path = require('node:path')
const readline = require('node:readline')
const { killAtExit } = require('./kill-at-exit')
const { until } = require('./until')

const examples = path.join(__dirname, '../../examples')

/** Starts a program of examples/, or another one. Its lines are in `lines` as they come; `ended` is how it has ended. */
function startProgram(file, env = {}) {
  const child = killAtExit(
    spawn(process.execPath, [path.resolve(examples, file)], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )
  const lines = []
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (data) => {
    stderr += data
  })
  readline.createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  const ended = new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, stderr }))
  })
  /** The first line that matches, when it is there. */
  const line = (pattern) => until(() => lines.find((line) => pattern.test(line)), `${file} prints ${pattern}`)
  return { child, lines, ended, line }
}

/** Starts a server of examples/, and waits until it listens; `url` is where. */
async function startServer(file, env) {
  const program = startProgram(file, { PORT: '0', ...env })
  const port = (await program.line(/^listening on /)).match(/\d+$/)[0]
  return { ...program, url: `http://localhost:${port}` }
}

module.exports = { startProgram, startServer }
