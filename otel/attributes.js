'use strict'

/** What attributes are called: `error.type` as OpenTelemetry has it, the rest in a namespace of our own. */
module.exports = {
  PREFIX: 'lock_inc.prefix',
  MODE: 'lock_inc.mode',
  OUTCOME: 'lock_inc.outcome',
  LOSS_REASON: 'lock_inc.loss.reason',
  RESOURCE: 'lock_inc.resource.names',
  TOKEN: 'lock_inc.token',
  WAITED: 'lock_inc.waited',
  HOLDER_HOST: 'lock_inc.holder.host',
  HOLDER_PID: 'lock_inc.holder.pid',
  POSITION: 'lock_inc.queue.position',
  LEASE_LEFT: 'lock_inc.lease.left',
  ERROR_TYPE: 'error.type',

  /** What an error is called in metrics and spans: few words, and always the same. */
  errorType: (error) => error?.code?.toString() ?? error?.name ?? '_OTHER',
}
