// As much of Rust as it takes to know what a file names: its tokens, and the paths in it as they are from the crate's root.
import { readFileSync } from 'node:fs'

const TOKENS = [
  /\/\/.*/, // comments
  /\/\*[\s\S]*?\*\//,
  /b?r(#*)"[\s\S]*?"\1/, // strings
  /b?"(?:\\[\s\S]|[^"\\])*"/,
  /b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\])'/, // characters
  /'\w+/, // lifetimes
  /r#\w+|\w+/, // words and numbers
  /::|->|=>|\.\.=?/,
  /[^\s]/,
]
const TOKEN = new RegExp(TOKENS.map(({ source }) => source).join('|'), 'g')
const LEFT_OUT = /^(?:\/[/*]|b?r?#*"|b?'.*'$)/s

const isWord = (token) => /^[A-Za-z_]/.test(token ?? '')
const isLocal = (word) => word === 'crate' || word === 'self' || word === 'super'

/** A file: where it is, its tokens without comments and literals, what it imports, and the paths in it. */
export function readSource(file, path) {
  const tokens = readFileSync(path, 'utf8')
    .match(TOKEN)
    .filter((token) => !LEFT_OUT.test(token))
  const imports = []
  const aliases = []
  const paths = []
  for (let at = 0; at < tokens.length; at++) {
    if (tokens[at] === 'use' && tokens[at - 1] !== '.') {
      at = readTree(tokens, at + 1, [], imports)
    } else if (tokens[at] === 'type' && isWord(tokens[at + 1]) && tokens[at + 2] === '=') {
      const target = readPath(tokens, at + 3)
      if (target) aliases.push({ path: target.path, name: tokens[at + 1] })
    } else if (isWord(tokens[at]) && tokens[at - 1] !== '::') {
      const found = readPath(tokens, at)
      paths.push(found)
      // Of a path with arguments in its middle, as `Vec::<Hold>::new`, the arguments are paths, too.
      at = found.last
    }
  }
  return { file, tokens, imports, aliases, paths }
}

/** A path from a token on: its words, and the first and last token of it. */
function readPath(tokens, first) {
  if (!isWord(tokens[first])) return undefined
  const path = [tokens[first]]
  let last = first
  while (tokens[last + 1] === '::' && isWord(tokens[last + 2])) {
    path.push(tokens[last + 2])
    last += 2
  }
  return { path, first, last }
}

/** What a `use` imports from a token on. Returns where it ends. */
function readTree(tokens, start, before, into) {
  let at = start
  const path = [...before]
  if (tokens[at] === '::') at++
  while (isWord(tokens[at])) {
    path.push(tokens[at++])
    if (tokens[at] !== '::') break
    at++
  }
  if (tokens[at] === '{') {
    while (tokens[at] !== '}') at = readTree(tokens, at + 1, path, into)
    return at + 1
  }
  if (tokens[at] === '*') {
    into.push({ path, name: '*' })
    return at + 1
  }
  if (path.length === before.length) return at // After the last comma of a list.
  if (path.at(-1) === 'self') path.pop()
  let name = path.at(-1)
  if (tokens[at] === 'as') {
    name = tokens[at + 1]
    at += 2
  }
  into.push({ path, name })
  return at
}

/**
 * What sources of one crate name: `paths`, each as `crate::module::Item` and with all that it begins with; `methods` and
 * `reads`, what is called and read of something (`x.name()`, `x.name`); and `fields`, of which structures in braces.
 */
export function namesIn(sources) {
  const everywhere = new Map()
  for (const source of sources) for (const { path, name } of importsOf(source)) add(everywhere, name, path)
  const [paths, globs, methods, reads, words] = Array.from({ length: 5 }, () => new Set())
  const names = { paths, globs, methods, reads, words, fields: new Map() }
  for (const source of sources) namesInOne(source, everywhere, names)
  return names
}

const importsOf = ({ imports, aliases }) => [...imports, ...aliases].filter(({ path }) => !isLocal(path[0]))

function namesInOne(source, everywhere, names) {
  const { tokens, imports, paths } = source
  const known = new Map()
  for (const { path, name } of importsOf(source)) add(known, name, path)
  // What another module of the crate has imported, or calls by another name.
  for (const { path, name } of imports.filter(({ path }) => isLocal(path[0]))) {
    if (name === '*')
      for (const [other, found] of everywhere) for (const path of found) add(known, other, path)
    for (const found of everywhere.get(path.at(-1)) ?? []) add(known, name, found)
  }
  for (const { path, name } of imports) {
    note(names, path)
    if (name === '*') names.globs.add(path.join('::'))
  }
  // In `impl From<Ours> for Theirs`, `Self` is theirs.
  for (const { path, first } of paths) {
    if (tokens[first - 1] === 'for') {
      for (const target of known.get(path[0]) ?? []) add(known, 'Self', [...target, ...path.slice(1)])
    }
  }
  for (const { path, first, last } of paths) {
    if (tokens[first - 1] === '.') {
      const isCalled = tokens[first + 1] === '(' || tokens[first + 1] === '::'
      names[isCalled ? 'methods' : 'reads'].add(path[0])
    }
    names.words.add(path.at(-1))
    const local = isLocal(path[0]) ? path.filter((word) => !isLocal(word)) : path
    const full = [path]
    for (let skip = 0; skip < local.length; skip++) {
      const found = (skip === 0 ? known : everywhere).get(local[skip]) ?? []
      for (const target of found) full.push([...target, ...local.slice(skip + 1)])
      if (!isLocal(path[0])) break
    }
    for (const one of full) {
      note(names, one)
      if (tokens[last + 1] === '{' && !isResult(tokens, first)) {
        for (const field of fieldsIn(tokens, last + 1)) add(names.fields, one.join('::'), field)
      } else if (tokens[last + 1] === '(') add(names.fields, one.join('::'), '()')
    }
  }
  tokens.forEach((token, at) => {
    if (tokens[at - 1] === '.' && /^\d+$/.test(token)) names.reads.add(token)
  })
}

function add(map, key, value) {
  if (!map.has(key)) map.set(key, new Set())
  map.get(key).add(value)
}

function note({ paths }, path) {
  for (let length = 1; length <= path.length; length++) paths.add(path.slice(0, length).join('::'))
}

/** Whether a path before a brace is what a function returns. */
function isResult(tokens, first) {
  let at = first - 1
  while (tokens[at] === '&' || tokens[at] === 'mut' || tokens[at]?.startsWith("'")) at--
  return tokens[at] === '->'
}

/** The fields that a literal or a pattern names, `..` where it takes the others from another value. */
function fieldsIn(tokens, brace) {
  const fields = []
  let depth = 0
  for (let at = brace; at < tokens.length; at++) {
    const token = tokens[at]
    if ('{(['.includes(token)) depth++
    else if ('})]'.includes(token)) {
      if (--depth === 0) return fields
    } else if (depth === 1) {
      const begins = ['{', ',', 'ref', 'mut'].includes(tokens[at - 1]) || tokens[at - 1] === ']'
      if (token === '..' && tokens[at + 1] !== '}') fields.push('..')
      if (isWord(token) && begins && [':', ',', '}'].includes(tokens[at + 1])) fields.push(token)
    }
  }
  return fields
}
