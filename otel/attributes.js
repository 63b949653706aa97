'use strict'

// What attributes are called: `error.type` as OpenTelemetry has it, the rest in a namespace of our own.
const PREFIX = 'lock_inc.prefix'
const MODE = 'lock_inc.mode'
const OUTCOME = 'lock_inc.outcome'
const LOSS_REASON = 'lock_inc.loss.reason'
const RESOURCE = 'lock_inc.resource.names'
const TOKEN = 'lock_inc.token'
const WAITED = 'lock_inc.waited'
const HOLDER_HOST = 'lock_inc.holder.host'
const HOLDER_PID = 'lock_inc.holder.pid'
const POSITION = 'lock_inc.queue.position'
const LEASE_LEFT = 'lock_inc.lease.left'
const ERROR_TYPE = 'error.type'

/** What an error is called in metrics and spans: few words, and always the same. */
const errorType = (error) => error?.code?.toString() ?? error?.name ?? '_OTHER'

module.exports = {
  PREFIX,
  MODE,
  OUTCOME,
  LOSS_REASON,
  RESOURCE,
  TOKEN,
  WAITED,
  HOLDER_HOST,
  HOLDER_PID,
  POSITION,
  LEASE_LEFT,
  ERROR_TYPE,
  errorType,
}
