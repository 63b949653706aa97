'use strict'

const fs = require('node:fs')
const { version } = require('../package.json')

const system = nameOfSystem(process)
const packageName = `lock-inc-${system}`

/** The addon. `native.d.ts` declares it. */
module.exports = ofThisVersion(load())

function load() {
  // Bundlers look for what is required here: each package by its own name, and all of them in one `try` of one function,
  // as only one of them is there.
  try {
    const built = builtHere()
    if (built) return built
    switch (system) {
      case 'darwin-arm64':
        return require('lock-inc-darwin-arm64')
      case 'darwin-x64':
        return require('lock-inc-darwin-x64')
      case 'linux-arm64-gnu':
        return require('lock-inc-linux-arm64-gnu')
      case 'linux-arm64-musl':
        return require('lock-inc-linux-arm64-musl')
      case 'linux-x64-gnu':
        return require('lock-inc-linux-x64-gnu')
      case 'linux-x64-musl':
        return require('lock-inc-linux-x64-musl')
      case 'win32-x64-msvc':
        return require('lock-inc-win32-x64-msvc')
    }
  } catch (error) {
    throw explained(error)
  }
  throw failure(
    'ERR_PLATFORM_NOT_SUPPORTED',
    `lock-inc has no addon for ${system}. It has them for Linux (gnu, musl) and macOS on x64 and arm64, and for Windows on x64`,
  )
}

function builtHere() {
  try {
    return require('./addon-built-here')(system)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}

function isMissing(error) {
  return error.code === 'MODULE_NOT_FOUND'
}

/** As napi-rs names it. */
function nameOfSystem({ platform, arch }) {
  if (platform === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`
}

/** A program on musl names musl's loader close to its beginning. `process.report` knows as much, but takes 8 ms. */
function isMusl() {
  try {
    return beginningOf(process.execPath).includes('/ld-musl-')
  } catch {
    // The process may not read its own program.
    return reportsMusl()
  }
}

function beginningOf(path) {
  const beginning = Buffer.alloc(4096)
  const file = fs.openSync(path, 'r')
  try {
    fs.readSync(file, beginning)
  } finally {
    fs.closeSync(file)
  }
  return beginning
}

function reportsMusl() {
  try {
    const { header } = /** @type {any} */ (process.report.getReport())
    return header.glibcVersionRuntime === undefined
  } catch {
    // No report either: then it is what most systems are.
    return false
  }
}

function ofThisVersion(addon) {
  const itsVersion = addon.version()
  if (itsVersion === version) return addon
  throw failure(
    'ERR_ADDON_VERSION',
    `lock-inc is ${version}, but its addon, ${packageName}, is ${itsVersion}. Install both in one version: npm install lock-inc@${version}`,
  )
}

/** What it means for the user that a package could not be required. */
function explained(cause) {
  if (isMissing(cause)) {
    return failure(
      'ERR_ADDON_NOT_INSTALLED',
      `${packageName}, which has the addon of lock-inc for this system, is not installed. Where optional dependencies were left out, or node_modules is of another system: npm install --include=optional`,
      { cause },
    )
  }
  // Deno has no code for it.
  if (cause.code === 'ERR_DLOPEN_DISABLED' || cause.name === 'NotCapable') {
    return failure(
      'ERR_ADDON_NOT_ALLOWED',
      'lock-inc is an addon, and this process may not load any: leave out --no-addons, add --allow-addons to --permission, in Deno --allow-ffi',
      { cause },
    )
  }
  return failure(
    'ERR_ADDON_NOT_LOADED',
    `${packageName} is installed, but cannot be loaded: ${cause.message.split('\n')[0]}`,
    { cause },
  )
}

function failure(code, message, options) {
  return Object.assign(new Error(message, options), { code })
}
