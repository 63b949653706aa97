'use strict'

const { spawn } = require('node:child_process')
const { setTimeout: sleep } = require('node:timers/promises')
const { hasTerminal, isInForeground } = require('./terminal')

/** How often it is looked whether all of a group has ended. */
const LOOK_EVERY = 50

/** What a terminal sends to all processes in its foreground. */
const OF_TERMINAL = ['SIGINT', 'SIGQUIT']

/**
 * A command that runs, with our own stdin, stdout and stderr.
 *
 * Without a terminal it has a process group (and session) of its own, and each signal goes to all of that: what a shell has
 * started does not outlive the shell. At a terminal it stays in our group, as it could not read from the terminal otherwise;
 * then a signal goes to the command itself, unless the terminal has sent it to all of us.
 */
class Child {
  #process
  #ownGroup = process.platform !== 'win32' && !hasTerminal()
  #hasEnded = false
  /** Resolves to `{ code, signal }`, or rejects if it could not be started. */
  ended

  /** @param {string[]} command @param {NodeJS.ProcessEnv} env */
  constructor([program = '', ...args], env) {
    this.ended = new Promise((resolve, reject) => {
      this.#process = spawn(program, args, { env, stdio: 'inherit', detached: this.#ownGroup })
      this.#process.once('error', reject)
      this.#process.once('exit', (code, signal) => {
        this.#hasEnded = true
        resolve({ code, signal })
      })
    })
    // Should this program fail: nobody renews the lock any more.
    process.once('exit', () => this.#hasEnded || this.#send('SIGTERM'))
  }

  /** Passes on a signal that we have got. @param {NodeJS.Signals} signal */
  pass(signal) {
    if (this.#hasEnded) return
    if (!this.#ownGroup && OF_TERMINAL.includes(signal) && isInForeground()) return
    this.#send(signal)
  }

  /** Asks it to end, and makes it after some time. Resolves when it has ended, and all of its group. @param {number} grace */
  async end(grace) {
    let isKilled = false
    const kill = setTimeout(() => {
      isKilled = true
      this.#send('SIGKILL')
    }, grace)
    this.#send('SIGTERM')
    // If it has been stopped, it does not get that before it goes on.
    this.#send('SIGCONT')
    await this.ended
    while (this.#ownGroup && !isKilled && this.#send(0)) await sleep(LOOK_EVERY)
    clearTimeout(kill)
  }

  /** Whether there is anybody who gets it. @param {NodeJS.Signals | 0} signal */
  #send(signal) {
    const pid = this.#process?.pid
    if (pid === undefined) return false
    try {
      return process.kill(this.#ownGroup ? -pid : pid, signal)
    } catch (/** @type {any} */ error) {
      // Somebody else's, by setuid: it is there all the same.
      if (error.code === 'EPERM') return true
      if (error.code === 'ESRCH') return false
      throw error
    }
  }
}

module.exports = { Child }
