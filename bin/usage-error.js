'use strict'

/** Something is wrong with the arguments. The message says what, and nothing has been done yet. */
class UsageError extends Error {}

module.exports = { UsageError }
