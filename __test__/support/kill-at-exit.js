'use strict'

const children = new Set()

function killAll() {
  for (const child of children) send(child, 'SIGKILL')
}

/** Not `child.kill`: in Deno that sends one signal to a process, and no other one after it. */
function send(child, signal) {
  if (child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(child.pid, signal)
  } catch (error) {
    // It has ended.
    if (error.code !== 'ESRCH') throw error
  }
}

// However a test file or another run ends, nothing that it started stays behind.
process.once('exit', killAll)
if (typeof afterAll === 'function') afterAll(killAll)

function killAtExit(child) {
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

module.exports = { killAtExit, send }
