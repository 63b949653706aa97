'use strict'

const { createPage } = require('./lib/page/handler')

/** The live page: a request handler for node:http, Express, Fastify, Next and whatever else has their requests. */
function page(locker, options) {
  return createPage(locker, options)
}

module.exports = page
module.exports.page = page
module.exports.default = page
