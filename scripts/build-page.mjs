// Makes lib/page/built.js, which is the live page in one piece, of the sources in page/. With --check it only says whether
// that is what they make.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = `${root}/lib/page/built.js`
const read = (name) => readFileSync(`${root}/page/${name}`, 'utf8').trim()

/** A script or a style sheet, with all that it imports. */
async function bundle(name) {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [`page/${name}`],
    bundle: true,
    minify: true,
    write: false,
    charset: 'utf8',
    target: ['es2022', 'chrome111', 'firefox113', 'safari16.4'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    logLevel: 'error',
  })
  return outputFiles[0].text.trim()
}

async function make() {
  const [style, script] = await Promise.all([bundle('style/index.css'), bundle('main.jsx')])
  const parts = read('index.html').split(/\{\{style\}\}|\{\{script\}\}/)
  if (parts.length !== 3) throw new Error('page/index.html has no {{style}} and {{script}}')
  const [before, between, after] = parts
  const literal = (text) => JSON.stringify(text)
  return `'use strict'

// Made by \`npm run build:page\` of what is in page/, with preact (MIT License, © 2015-present Jason Miller).
const style = ${literal(style)}
const script = ${literal(script)}
const html = ${literal(before)} + style + ${literal(between)} + script + ${literal(`${after}\n`)}
const icon = ${literal(read('icon.svg'))}

module.exports = { html, icon, script, style }
`
}

const made = await make()
if (!process.argv.includes('--check')) {
  writeFileSync(target, made)
  console.log(`page: lib/page/built.js, ${Math.ceil(made.length / 1024)} KiB`)
} else if (readFileSync(target, 'utf8') !== made) {
  console.error('page: lib/page/built.js is not what page/ makes: npm run build:page')
  process.exitCode = 1
} else {
  console.log('page: lib/page/built.js is what page/ makes')
}
