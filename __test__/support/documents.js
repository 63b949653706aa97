'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const root = path.join(__dirname, '../..')

const textOf = (file) => fs.readFileSync(path.join(root, file), 'utf8')

/** The pages for those who use the package, and those for those who change it. */
const documents = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...fs
    .readdirSync(path.join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

/**
 * The blocks of code of a document in these languages. `where` is for the name of a test; `file` is set where the line
 * before says which file the block is, or is a part of.
 */
function blocksOf(document, ...languages) {
  const text = textOf(document)
  const blocks = text.matchAll(/(?:^`(\S+)`(?:, in part)?:\n\n)?^```(\w+)\n([\s\S]*?)^```$/gm)
  return Array.from(blocks, ({ index, 1: file, 2: language, 3: code }) => {
    const line = text.slice(0, text.indexOf('```', index)).split('\n').length
    return { where: `${document}:${line}`, document, file, language, code }
  }).filter(({ language }) => languages.includes(language))
}

/** A block that can be saved and run; others are parts of a program. */
const isProgram = ({ code }) => /\blockFactory\(/.test(code) && /['"]lock-inc['"]/.test(code)

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(document) {
  const headings = textOf(document)
    .replace(/^```[\s\S]*?^```$/gm, '')
    .match(/^#+ .+$/gm)
  return headings.map((heading) =>
    heading
      .replace(/^#+ /, '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
      .replaceAll(' ', '-'),
  )
}

/** The links of a document that lead to files here: to which, and to which heading. */
function linksOf(document) {
  const text = textOf(document).replace(/^```[\s\S]*?^```$/gm, '')
  const targets = Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, target]) => target)
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file, anchor] = target.split('#')
      return { target, file: file ? path.join(path.dirname(document), file) : document, anchor }
    })
}

const apps = []
afterAll(() => {
  for (const app of apps.splice(0)) fs.rmSync(app, { recursive: true })
})

/** A folder with these packages installed, as links to those that are here. It is gone when the tests of the file have run. */
function makeApp(...packages) {
  const app = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-app-'))
  apps.push(app)
  for (const name of packages) {
    const link = path.join(app, 'node_modules', name)
    fs.mkdirSync(path.dirname(link), { recursive: true })
    fs.symlinkSync(name === 'lock-inc' ? root : path.join(root, 'node_modules', name), link)
  }
  // Deno finds what is named here, and nothing else.
  const dependencies = Object.fromEntries(packages.map((name) => [name, '*']))
  fs.writeFileSync(
    path.join(app, 'package.json'),
    JSON.stringify({ private: true, type: 'commonjs', dependencies }),
  )
  return app
}

module.exports = { anchorsOf, blocksOf, documents, isProgram, linksOf, makeApp, root, textOf }
