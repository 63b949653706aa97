'use strict'

/** Numbers in 0..1 that a seed repeats (mulberry32). */
function randomFrom(seed) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** So many seeds, which `jest --seed=…` repeats. */
function seeds(count) {
  const random = randomFrom(jest.getSeed())
  return Array.from({ length: count }, () => Math.floor(random() * 2 ** 31))
}

module.exports = { randomFrom, seeds }
