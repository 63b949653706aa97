'use strict'

/** The addon that `npm run build` has made in this checkout. The published package does not have this file. */
module.exports = (system) => require(`../lock-inc.${system}.node`)
