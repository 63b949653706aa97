'use strict'

const { randomBytes, timingSafeEqual } = require('node:crypto')
const { Refusal } = require('./refusal')

/** Takes locks from their holders, for those who may. */
class Force {
  /** Of this page: it is told to the browser, and nobody else can say it. */
  #token = randomBytes(18).toString('base64url')
  #locker
  #allowUnlock

  constructor(locker, allowUnlock) {
    this.#locker = locker
    this.#allowUnlock = allowUnlock
  }

  /** What who has sent this has to say to be let through; `null` for those who may not. */
  async tokenFor(request) {
    return (await this.#mayUnlock(request)) ? this.#token : null
  }

  /**
   * `holders`: the tokens of those who are to lose it, as they were told in the question. Where somebody else holds it by now,
   * that one keeps it.
   */
  async unlock(request, name, holders) {
    await this.#check(request)
    const found = await this.#locker.inspect(name)
    const seen = (found?.holders ?? []).map(({ token }) => token ?? 'unknown').join()
    if (seen !== holders) {
      throw new Refusal(409, 'ERR_PAGE_CHANGED', 'It is not held by the same holders any more: look again')
    }
    return this.#locker.forceUnlock(name)
  }

  async #check(request) {
    if (!(await this.#mayUnlock(request)))
      throw forbidden('This page may not force anything: that takes the option allowUnlock')
    if (!this.#isToken(request.headers['x-lock-inc-token']))
      throw forbidden('The token of the page is not that of this process: load the page again')
  }

  async #mayUnlock(request) {
    const allowed = this.#allowUnlock
    return typeof allowed === 'function' ? (await allowed(request)) === true : allowed
  }

  #isToken(said = '') {
    const [given, own] = [Buffer.from(said), Buffer.from(this.#token)]
    return given.length === own.length && timingSafeEqual(given, own)
  }
}

function forbidden(message) {
  return new Refusal(403, 'ERR_PAGE_FORBIDDEN', message)
}

module.exports = { Force }
