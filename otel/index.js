'use strict'

const { subscribe, unsubscribe } = require('node:diagnostics_channel')
const { version } = require('../package.json')
const { measure } = require('./metrics')
const { trace } = require('./spans')

/**
 * Makes spans and metrics of what the diagnostics channels of lock-inc tell, for all lockers of the thread. Returns a function
 * that ends that.
 */
function instrument({ tracerProvider, meterProvider, resourceNames = true } = {}) {
  const api = loadApi()
  const tracer = (tracerProvider ?? api.trace).getTracer('lock-inc', version)
  const meter = (meterProvider ?? api.metrics).getMeter('lock-inc', version)
  const parts = [trace(api, tracer, resourceNames), measure(meter)]
  for (const { listeners } of parts) {
    for (const [name, listener] of Object.entries(listeners)) subscribe(`lock-inc:${name}`, listener)
  }
  return function stop() {
    for (const { listeners, end } of parts.splice(0)) {
      for (const [name, listener] of Object.entries(listeners)) unsubscribe(`lock-inc:${name}`, listener)
      end()
    }
  }
}

function loadApi() {
  try {
    return require('@opentelemetry/api')
  } catch (cause) {
    const message = 'lock-inc/otel needs @opentelemetry/api: npm install @opentelemetry/api'
    throw Object.assign(new Error(message, { cause }), { code: 'ERR_OTEL_NOT_INSTALLED' })
  }
}

module.exports = instrument
module.exports.default = instrument
