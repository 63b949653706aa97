'use strict'

/** A browser that looks: server-sent events to it (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
class Viewer {
  #response
  /** It is to be told everything, as it is new or has missed something. */
  isBehind = true

  constructor(response) {
    this.#response = response
  }

  /** What a slow connection does not take is left out, and made up for by the next `all`. */
  send(event, text) {
    if (this.#response.writableNeedDrain) {
      this.isBehind = true
      return
    }
    this.#response.write(`event: ${event}\ndata: ${text}\n\n`)
    if (event === 'all') this.isBehind = false
  }

  end() {
    this.#response.end()
  }
}

module.exports = { Viewer }
