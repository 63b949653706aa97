'use strict'

/** From the best to the worst. */
const LEVELS = ['ok', 'note', 'warning', 'problem']

/**
 * What was found.
 *
 * @typedef {object} Finding
 * @property {string} code Stable: the subject and what was found about it, as in `eviction-on`.
 * @property {string} level One of `LEVELS`.
 * @property {string | null} server Of which server; `null`: of all together.
 * @property {string} found What is so.
 * @property {string | null} means What follows for locks.
 * @property {string | null} todo What to do about it.
 * @property {string} [error] The code of the error that has told it.
 *
 * @typedef {object} Kind What is always so of a finding.
 * @property {'ok' | 'note' | 'warning' | 'problem'} level
 * @property {string} [means]
 * @property {string} [todo]
 */

/** Of every subject. @type {Kind} */
const UNSEEN = {
  level: 'note',
  means: 'Nothing is known of it. Locks do not depend on that.',
  todo: 'Ask as a user who may: +info +config|get +acl|whoami +acl|dryrun +cluster|info. Managed services show it elsewhere.',
}

/** Gathers what is found. */
class Report {
  /** @type {Finding[]} */
  findings = []

  /** The worst there is. */
  get level() {
    const worst = Math.max(0, ...this.findings.map(({ level }) => LEVELS.indexOf(level)))
    return LEVELS[worst] ?? 'ok'
  }

  /**
   * What tells of a subject, given the key of one of its findings.
   *
   * @param {{ name: string, findings: { [key: string]: Kind } }} subject
   * @param {string} [server]
   */
  about({ name, findings }, server) {
    /** @param {string} key @param {string} found @param {Partial<Finding>} [more] */
    const tell = (key, found, more) => {
      const {
        level,
        means = null,
        todo = null,
      } = key === 'unseen' ? UNSEEN : /** @type {Kind} */ (findings[key])
      this.findings.push({
        code: `${name}-${key}`,
        level,
        server: server ?? null,
        found,
        means,
        todo,
        ...more,
      })
    }
    /** Something could not be seen. @param {{ message: string, code?: string }} error */
    tell.unseen = (error) => tell('unseen', `could not be seen: ${error.message}`)
    return tell
  }
}

module.exports = { Report }
