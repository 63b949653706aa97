'use strict'

const SLOTS = 16_384

/** The slot of a key: that of its hash tag, or else of all of it. */
function slotOf(key) {
  const [, tag = key] = key.match(/^[^{]*\{([^}]+)\}/) ?? []
  return crc16(Buffer.from(tag)) % SLOTS
}

/** CRC-16/XMODEM, as the specification of Redis Cluster has it. */
function crc16(bytes) {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : crc << 1
  }
  return crc
}

module.exports = { slotOf, SLOTS }
