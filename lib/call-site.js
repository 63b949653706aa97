'use strict'

const { isNode } = require('./is-node')
const { now } = require('./native')

/**
 * A stack costs as much as the rest of a call does in JavaScript. So no more than so many are captured in so many
 * milliseconds: where calls come faster, that is still next to nothing of the time.
 */
const MOST = 50
const PERIOD = 25

let left = 0
let renewed = Number.NEGATIVE_INFINITY

/**
 * Where a call comes from. An error that is made when the answer is there knows that only if the caller awaits the call.
 *
 * @param {Function} called What the user has called.
 * @returns {object | undefined} For `locate`.
 */
function callSite(called) {
  if (left === 0) {
    const time = now()
    if (time - renewed < PERIOD) return undefined
    left = MOST
    renewed = time
  }
  left--
  // In JavaScriptCore, a function that ends with a call has no frame any more: it would not find `called`, and what is below.
  if (!isNode) return new Error()
  const site = {}
  Error.captureStackTrace(site, called)
  return site
}

/**
 * Gives an error the stack of the call that it ends, which is put into words when somebody reads it.
 *
 * @template {Error} E
 * @param {E} error
 * @param {{ stack?: any } | undefined} site
 * @returns {E}
 */
function locate(error, site) {
  if (site === undefined) return error
  const define = (property) => Object.defineProperty(error, 'stack', { ...property, configurable: true })
  return define({
    get() {
      // Whoever puts it into words sees nothing but the site, so that is made to look like the error.
      const { stack: _, ...fields } = Object.getOwnPropertyDescriptors(error)
      Object.defineProperties(Object.setPrototypeOf(site, Object.getPrototypeOf(error)), fields)
      const { stack } = site
      // Bun has done so already, and knew of no name and no message then.
      return typeof stack === 'string' ? stack.replace(/^Error(?=\n|$)/, () => String(error)) : stack
    },
    set(value) {
      define({ value, writable: true })
    },
  })
}

module.exports = { callSite, locate }
