'use strict'

/** @param {number} number @param {string} noun */
function count(number, noun) {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

/** @param {number} ms */
function milliseconds(ms) {
  return `${ms < 10 ? Number(ms.toPrecision(2)) : Math.round(ms)} ms`
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']

/** @param {number} bytes */
function size(bytes) {
  const unit = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  return `${Number((bytes / 1024 ** unit).toPrecision(3))} ${UNITS[unit]}`
}

module.exports = { count, milliseconds, size }
