'use strict'

const children = new Set()

function killAll() {
  for (const child of children) child.kill('SIGKILL')
}

// However a test file or another run ends, nothing that it started stays behind.
process.once('exit', killAll)
if (typeof afterAll === 'function') afterAll(killAll)

function killAtExit(child) {
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

module.exports = { killAtExit }
