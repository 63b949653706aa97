'use strict'

const { headers } = require('./protection')
const { Refusal } = require('./refusal')

function answer(response, status, type, body) {
  response.writeHead(status, { ...headers, 'Content-Type': type })
  response.end(body)
}

function json(response, status, data) {
  answer(response, status, 'application/json', JSON.stringify(data))
}

/**
 * Answers with an error. One that is no answer, as something is broken, goes to `next`, or becomes a warning of the process
 * where there is none.
 */
function refuse(response, error, next) {
  const { code, message, stack = String(error) } = error ?? {}
  if (response.headersSent) response.destroy(error)
  else if (error instanceof Refusal) json(response, error.status, { code, message })
  else if (code === 'ERR_INVALID_ARG_TYPE') json(response, 400, { code, message })
  else if (typeof code === 'string') json(response, 503, { code, message })
  else if (next) next(error)
  else {
    process.emitWarning(stack, { type: 'LockIncWarning', code: 'LOCK_INC_PAGE' })
    json(response, 500, { code: 'ERR_PAGE_INTERNAL', message: 'The page has failed: see the log' })
  }
}

module.exports = { answer, json, refuse }
