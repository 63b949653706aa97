'use strict'

const { shown } = require('../../lib/options/argument-errors')
const { nearest } = require('../../lib/options/nearest')
const { orders } = require('../locks/rows')
const { UsageError } = require('../usage-error')

/** What `--sort` says. @param {{ [name: string]: any }} options */
function orderOf({ sort = 'name' }) {
  const keys = Object.keys(orders)
  if (keys.includes(sort)) return sort
  const near = nearest(sort, keys)
  throw new UsageError(
    `--sort ${shown(sort)}: ${near ? `did you mean ${near}?` : `there are ${keys.join(', ')}`}`,
  )
}

module.exports = { orderOf }
