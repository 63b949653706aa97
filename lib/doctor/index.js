'use strict'

const { LockError } = require('../errors')
const { readSpec } = require('../options/spec')
const { Report } = require('./report')
const { askable } = require('./servers')
const { connection, ofAll, ofEachServer } = require('./subjects')
const { Unseen } = require('./unseen')

/**
 * Looks for what is wrong with the servers that a locker of this kind would use.
 *
 * @param {import('../..').RedisSpec} spec The argument of `lockFactory`.
 * @param {() => import('../..').Locker} openLocker Opens a locker by it, and closes it later.
 * @returns {Promise<{ level: string, servers: string[], sentinels: string[], reached: boolean, findings: import('./report').Finding[] }>}
 * @throws The errors of `lockFactory` for a wrong argument.
 */
async function examine(spec, openLocker) {
  const { checked } = readSpec(spec)
  const inquiry = askable(checked)
  const report = new Report()
  const scene = { ...checked, inquiry, openLocker }
  /** @type {import('./server').Server[]} */
  let servers = []
  try {
    servers = await inquiry.servers()
  } catch (error) {
    tellOfConnection(report, 'none', error)
  }
  // One after the other: what the examination of one costs shall not be measured at another.
  for (const server of servers) await examineServer(server, scene, report)
  for (const subject of ofAll) await look(subject, servers, scene, report)
  const sentinels = inquiry.sentinels().map(({ name }) => name)
  return {
    level: report.level,
    servers: servers.map(({ name }) => name),
    sentinels,
    reached: servers.some(({ wasReached }) => wasReached),
    findings: report.findings,
  }
}

/** @param {import('./server').Server} server @param {object} scene @param {Report} report */
async function examineServer(server, scene, report) {
  for (const subject of ofEachServer) {
    await look(subject, server, scene, report)
    // What else there was to be asked would only take its time once more.
    if (server.failure) return tellOfConnection(report, 'lost', server.failure, server.name)
  }
}

/** @param {any} subject @param {any} subjectOf A server, or all of them. @param {object} scene @param {Report} report */
async function look(subject, subjectOf, scene, report) {
  const tell = report.about(subject, subjectOf.name)
  try {
    await subject.examine(subjectOf, tell, scene)
  } catch (error) {
    if (error instanceof Unseen) tell.unseen(error)
    else if (!(error instanceof LockError)) throw error
    else if (!subjectOf.failure) tell.unseen(error)
  }
}

/** @param {Report} report @param {string} key @param {any} error @param {string} [server] */
function tellOfConnection(report, key, error, server) {
  if (!(error instanceof LockError)) throw error
  report.about(connection, server)(key, error.message, { error: error.code })
}

module.exports = { examine }
