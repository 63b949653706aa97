'use strict'

const { execFileSync } = require('node:child_process')
const { closeSync, openSync, readFileSync } = require('node:fs')

/** Whether this process belongs to a terminal, whatever its stdin and stdout are. */
function hasTerminal() {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}

/** Whether that sends its signals to our process group now. */
function isInForeground() {
  const [own, foreground] = groups()
  return own === foreground
}

/** The number of our group, and of the one in the foreground. Where the system does not tell, they count as one. */
function groups() {
  try {
    // The name of the program, in parentheses, may have anything in it.
    const [, , own, , , foreground] =
      readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1)?.split(' ') ?? []
    return [own, foreground]
  } catch {
    try {
      const options = ['-o', 'pgid=', '-o', 'tpgid=', '-p', String(process.pid)]
      return execFileSync('ps', options, { encoding: 'utf8' }).trim().split(/\s+/)
    } catch {
      return []
    }
  }
}

module.exports = { hasTerminal, isInForeground }
