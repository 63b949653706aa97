'use strict'

const { jest: everyday } = require('./package.json')

/** The tests of the live page in a browser, which they need: Chromium. */
module.exports = {
  ...everyday,
  testMatch: ['**/__test__/page/**/*.test.js'],
  testPathIgnorePatterns: ['/node_modules/'],
  maxWorkers: 1,
  testTimeout: 60_000,
}
