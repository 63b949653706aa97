'use strict'

const { EXIT } = require('../exit-codes')

/** Colours of the levels. */
const STYLES = { ok: 'green', note: 'cyan', warning: 'yellow', problem: 'red' }

/** @type {import('.').Command} */
module.exports = {
  summary: 'looks for what is wrong with this Redis for locks',
  help: `
Takes a lock and hands it over, tries each right of the user, and looks at settings, replicas, saving, speed and clocks.
What the user may not see is told as such. docs/doctor.md says what each finding means.`,
  options: {
    json: { type: 'boolean', help: 'as JSON: { level, reached, servers, sentinels, findings }' },
  },
  exitCodes: {
    [EXIT.done]: 'no problem was found; warnings and notes do not count',
    [EXIT.no]: 'there is a problem',
    [EXIT.unavailable]: 'no server could be reached, which is told as a problem, too',
  },

  async run(context) {
    // Not before it is needed: help must work where the addon cannot be loaded.
    const { examine } = require('../../lib/doctor')
    const report = await examine(context.spec, () => context.openLocker())
    if (context.options.json) context.print(JSON.stringify(report, null, 2))
    else show(report, context)
    if (!report.reached) return EXIT.unavailable
    return report.level === 'problem' ? EXIT.no : EXIT.done
  },
}

/** @param {any} report @param {import('../context').Context} context */
function show({ findings, level }, { paint, print }) {
  let about
  for (const { server, ...finding } of findings) {
    if (server !== about) print(`${about === undefined ? '' : '\n'}${paint.bold(server ?? 'All together')}`)
    about = server
    const { means, todo } = finding
    print(
      `  ${paint[STYLES[finding.level]](finding.level.padEnd(7))}  ${finding.found} ${paint.dim(`[${finding.code}]`)}`,
    )
    if (finding.level !== 'ok' && means) print(`           ${means}`)
    if (finding.level !== 'ok' && todo) print(`           To do: ${todo}`)
  }
  const number = findings.filter((/** @type {any} */ finding) => finding.level === level).length
  const worst = level === 'ok' ? 'All is well' : `${number} ${level}${number === 1 ? '' : 's'}`
  print(`\n${paint[STYLES[level]](worst)}`)
}
