'use strict'

const children = new Set()

// However a run of the tests ends, nothing that it started stays behind.
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

function killAtExit(child) {
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

module.exports = { killAtExit }
