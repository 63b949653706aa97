'use strict'

const { spawn } = require('node:child_process')
const path = require('node:path')
const { killAtExit } = require('./kill-at-exit')

/** Runs `lock-inc doctor` as a process of its own. */
function doctor(args, env = {}) {
  const command = [path.join(__dirname, '../../bin/lock-inc.js'), 'doctor', ...args]
  const child = killAtExit(spawn(process.execPath, command, { env: { ...process.env, ...env } }))
  const output = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr'])
    child[stream].on('data', (data) => {
      output[stream] += data
    })
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, ...output })))
}

/** What it finds, by code. */
async function findings(args, env) {
  const { code, stdout, stderr } = await doctor(['--json', '--command-timeout', '2s', ...args], env)
  if (stdout === '') throw new Error(stderr)
  const report = JSON.parse(stdout)
  const byCode = Object.fromEntries(report.findings.map((finding) => [finding.code, finding]))
  return { code, report, byCode, codes: Object.keys(byCode) }
}

module.exports = { doctor, findings }
