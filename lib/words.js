'use strict'

/** Of a longer name the beginning will do, whether in an error or in a line of a log. */
const LONGEST = 100

/** A name, on one line whatever is in it. */
function quoted(name) {
  return JSON.stringify(name.length > LONGEST ? `${name.slice(0, LONGEST)}…` : name)
}

function time(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

/** Who holds a resource, as far as that is known. */
function named(holder) {
  if (!holder) return 'a client of lock-inc 1.2.0'
  const { pid, host, since, token } = holder
  return `process ${pid} on ${host}${since ? ` since ${since.toISOString()}` : ''}${token ? ` (token ${token})` : ''}`
}

module.exports = { named, quoted, time }
