'use strict'

const { spawn } = require('node:child_process')
const path = require('node:path')
const readline = require('node:readline')
const { killAtExit } = require('./kill-at-exit')

/** Runs a script in a Node process of its own. `lockFactory` is there; `args` are its `args`. */
function runNode(script, args = {}) {
  const code = `
    const lockFactory = require(${JSON.stringify(path.join(__dirname, '../..'))})
    const args = ${JSON.stringify(args)}
    const tell = (message) => process.stdout.write(JSON.stringify(message) + '\\n')
    ${script}
  `
  const child = killAtExit(spawn(process.execPath, ['-e', code], { stdio: ['pipe', 'pipe', 'pipe'] }))
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

module.exports = { runNode }
