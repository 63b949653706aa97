'use strict'

/** The addon. `native.d.ts` declares it. */
module.exports = require('../native')
