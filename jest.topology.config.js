'use strict'

const { jest: everyday } = require('./package.json')

/** The tests on several servers at once: they start many processes and wait for failovers. */
module.exports = {
  ...everyday,
  testMatch: ['**/__test__/topology/**/*.test.js'],
  testPathIgnorePatterns: ['/node_modules/'],
  maxWorkers: 2,
  testTimeout: 60_000,
}
