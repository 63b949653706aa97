'use strict'

// What the demonstrations tell their steps with.

const { setTimeout: sleep } = require('node:timers/promises')
const util = require('node:util')

let steps = 0

function step(title, text) {
  steps += 1
  console.log(`\n${paint('cyan', `${steps}. ${title}`)}\n   ${text}`)
}

/** A line of what has come of something, and of how long it took. */
function fact(what, result, ms) {
  const line = `   ${what.padEnd(18)}${result}`
  console.log(ms === undefined ? line : `${line.padEnd(68)}${paint('dim', time(ms).padStart(10))}`)
}

function time(ms) {
  return ms < 100 ? `${ms.toFixed(2)} ms` : `${Math.round(ms)} ms`
}

/** Colours are for terminals (https://no-color.org). Node has styleText from 20.12 on. */
function paint(format, text) {
  return process.stdout.isTTY && !process.env.NO_COLOR && util.styleText ? util.styleText(format, text) : text
}

async function timed(run) {
  const start = performance.now()
  const value = await run()
  return { value, ms: performance.now() - start }
}

async function until(condition) {
  while (!(await condition())) await sleep(5)
}

module.exports = { fact, paint, step, time, timed, until }
