'use strict'

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { engines, version } = require('../package.json')

const root = path.join(__dirname, '..')
const [addon] = fs.readdirSync(root).filter((name) => name.endsWith('.node'))
const system = addon.split('.')[1]
const packageName = `lock-inc-${system}`

const runtime = ['bun', 'deno'].find((name) => name in process.versions) ?? 'node'
// Node.js 20 calls it experimental.
const permission = ['--permission', '--experimental-permission'].find((flag) =>
  process.allowedNodeEnvironmentFlags.has(flag),
)
const allowingAll = runtime === 'deno' ? ['run', '--allow-all'] : []
const allowingNoAddon = {
  node: [['--no-addons'], [permission, '--allow-fs-read=*']],
  bun: [['--no-addons']],
  deno: [['run', '--allow-read', '--allow-env']],
}

function esbuild(cwd, ...args) {
  return execFileSync(path.join(root, 'node_modules/.bin/esbuild'), args, { cwd, encoding: 'utf8' })
}

// What `require('lock-inc')` does where it is installed: each app has a node_modules of its own, as npm would lay it out.
describe('the module', () => {
  // Short, as a program has only so much room for the name of its loader.
  const folder = fs.mkdtempSync('/tmp/l')

  afterAll(() => fs.rmSync(folder, { recursive: true }))

  /** An app with lock-inc. */
  function makeApp() {
    const app = fs.mkdtempSync(path.join(folder, 'app-'))
    const main = path.join(app, 'node_modules/lock-inc')
    fs.cpSync(path.join(root, 'lib'), path.join(main, 'lib'), { recursive: true })
    fs.rmSync(path.join(main, 'lib/addon-built-here.js'))
    for (const file of ['index.js', 'package.json'])
      fs.copyFileSync(path.join(root, file), path.join(main, file))
    fs.writeFileSync(
      path.join(app, 'app.cjs'),
      `
      const tell = (message) => console.log(JSON.stringify(message))
      try {
        tell(require('lock-inc').hash('abc'))
      } catch ({ name, code, message, cause }) {
        tell({ name, code, message, cause: cause?.message, causedBy: cause?.code })
      }
      `,
    )
    return app
  }

  /** Adds a platform's package; `make` makes its file, which is the real addon if nothing else is said. */
  function install(app, name = packageName, make = (file) => fs.symlinkSync(path.join(root, addon), file)) {
    const folder = path.join(app, 'node_modules', name)
    fs.mkdirSync(folder)
    fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, version, main: 'it.node' }))
    make(path.join(folder, 'it.node'))
    return app
  }

  function run(
    app,
    { script = 'app.cjs', flags = allowingAll, before = '', program = process.execPath } = {},
  ) {
    const file = path.join(app, script)
    if (before) fs.writeFileSync(file, `${before}\n${fs.readFileSync(file, 'utf8')}`)
    const output = execFileSync(program, [...flags, file], { cwd: app, encoding: 'utf8', stdio: 'pipe' })
    return JSON.parse(output)
  }

  const hash = 'ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='

  it('loads the addon of the package for its system', () => {
    expect(run(install(makeApp()))).toBe(hash)
  })

  it('says which package is not installed', () => {
    const missing = {
      name: 'Error',
      code: 'ERR_ADDON_NOT_INSTALLED',
      message: expect.stringMatching(new RegExp(`^${packageName}, .* npm install --include=optional$`)),
      cause: expect.stringContaining('Cannot find module'),
      causedBy: 'MODULE_NOT_FOUND',
    }
    expect(run(makeApp())).toEqual(missing)
    expect(run(install(makeApp(), packageName, () => {}))).toEqual(missing)
    expect(run(install(makeApp(), 'lock-inc-sunos-x64'))).toEqual(missing)
  })

  it('says where an addon is of another version', () => {
    const app = install(makeApp())
    const file = path.join(app, 'node_modules/lock-inc/package.json')
    fs.writeFileSync(file, JSON.stringify({ ...require('../package.json'), version: '2.0.1-x' }))
    expect(run(app)).toEqual({
      name: 'Error',
      code: 'ERR_ADDON_VERSION',
      message: `lock-inc is 2.0.1-x, but its addon, ${packageName}, is ${version}. Install both in one version: npm install lock-inc@2.0.1-x`,
    })
  })

  it('says what the system has against an addon', () => {
    const damaged = (file) => fs.writeFileSync(file, fs.readFileSync(path.join(root, addon)).subarray(0, 500))
    const { name, code, message, cause } = run(install(makeApp(), packageName, damaged))
    expect({ name, code }).toEqual({ name: 'Error', code: 'ERR_ADDON_NOT_LOADED' })
    expect(cause).toContain('it.node')
    expect(message).toBe(`${packageName} is installed, but cannot be loaded: ${cause.split('\n')[0]}`)
  })

  it('says that addons are not allowed', () => {
    const app = install(makeApp())
    for (const flags of allowingNoAddon[runtime]) {
      expect(run(app, { flags })).toMatchObject({
        name: 'Error',
        code: 'ERR_ADDON_NOT_ALLOWED',
        message: expect.stringContaining('--no-addons'),
        cause: expect.stringMatching(/disabled|--allow-ffi/),
      })
    }
  })

  it('says where there is no addon for the system', () => {
    const as = (platform, arch) => `
      for (const [name, value] of Object.entries({ platform: '${platform}', arch: '${arch}' })) {
        Object.defineProperty(process, name, { value })
      }
    `
    const systems = {
      'freebsd-x64': as('freebsd', 'x64'),
      'win32-ia32-msvc': as('win32', 'ia32'),
      [system.replace(process.arch, 'riscv64')]: as(process.platform, 'riscv64'),
    }
    for (const [name, before] of Object.entries(systems)) {
      expect(run(install(makeApp()), { before })).toEqual({
        name: 'Error',
        code: 'ERR_PLATFORM_NOT_SUPPORTED',
        message: `lock-inc has no addon for ${name}. It has them for Linux (gnu, musl) and macOS on x64 and arm64, and for Windows on x64`,
      })
    }
  })

  it('takes another package where the program is one for another libc', () => {
    const other = system.endsWith('musl') ? ['gnu', 'ld-1'] : ['musl', 'ld-musl-1']
    const name = packageName.replace(/\w+$/, other[0])
    const [program, loader] = [path.join(folder, 'program'), path.join(folder, other[1])]
    // The same program, but it calls its loader by the name that is that of another libc.
    const bytes = fs.readFileSync(process.execPath)
    const { 0: known, index } = bytes.toString('latin1', 0, 4096).match(/\/[^\0]*\/ld-[^\0]*/)
    bytes.fill(0, index, index + known.length).write(loader, index)
    fs.writeFileSync(program, bytes, { mode: 0o755 })
    fs.symlinkSync(known, loader)
    expect(run(install(makeApp()), { program })).toMatchObject({ code: 'ERR_ADDON_NOT_INSTALLED' })
    expect(run(install(makeApp(), name), { program })).toBe(hash)
  })

  it('finds its libc where it may not read the program', () => {
    const app = install(makeApp())
    const readable = [folder, root].map((folder) => `--allow-fs-read=${folder}/*`)
    expect(run(app, { flags: [permission, '--allow-addons', ...readable] })).toBe(hash)
  })

  it('says that Node.js is too old, and reads nothing else before', () => {
    const app = makeApp()
    const before = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.8' } })`
    const lib = path.join(app, 'node_modules/lock-inc/lib')
    for (const name of fs.readdirSync(lib)) {
      if (name !== 'node-version.js') fs.rmSync(path.join(lib, name), { recursive: true })
    }
    expect(run(app, { before })).toEqual({
      name: 'Error',
      code: 'ERR_NODE_VERSION',
      message: 'lock-inc needs Node.js 20 or newer, and this is 18.20.8',
    })
    expect(engines.node).toBe('>=20')
  })

  it('can be read that far by an old Node.js', () => {
    for (const file of ['index.js', 'lib/node-version.js']) {
      const readBy = (target) => esbuild(root, file, `--target=${target}`)
      expect(readBy('node10')).toBe(readBy('esnext'))
    }
  })

  it('can be bundled, with the addon or without', () => {
    const bundle = (app) => {
      const flags = [
        '--bundle',
        '--platform=node',
        '--loader:.node=copy',
        '--outfile=dist/app.cjs',
        '--log-level=warning',
      ]
      esbuild(app, 'app.cjs', ...flags)
      fs.rmSync(path.join(app, 'node_modules'), { recursive: true })
      return run(app, { script: 'dist/app.cjs' })
    }
    expect(bundle(install(makeApp()))).toBe(hash)
    expect(bundle(makeApp())).toMatchObject({ code: 'ERR_ADDON_NOT_INSTALLED' })
  })

  it('has each of these codes in the documentation', () => {
    const textOf = (file) => fs.readFileSync(path.join(root, file), 'utf8')
    const codes = `${textOf('lib/native.js')}${textOf('lib/node-version.js')}`.match(
      /(?<=')ERR_(?!DLOPEN)\w+/g,
    )
    const rows = textOf('docs/api.md').match(/(?<=^\| `)ERR_\w+/gm)
    expect(rows.sort()).toEqual(codes.sort())
  })
})
