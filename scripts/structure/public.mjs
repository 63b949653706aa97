// Finds what a crate shows and no other crate needs: it need not be `pub`, and then the compiler tells whether it is dead.
//
// What is public is what rustdoc says. What others need is what they name, and the types in the signatures of that. A path
// is known exactly; a method or a field by its name only, as the type of what it is called on is not known here.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { namesIn } from './rust.mjs'

/** What is `pub` for integration tests and model checks alone. Those do not count otherwise. */
const forTests = {
  'lock-inc-core': ['Error::outcome_unknown'],
  'lock-inc-exec': ['the module tasks', 'Runnable', 'spawn_or', 'assist_here', 'Activity::poll_begun_since'],
}

export function checkPublic({ root, packages }) {
  const isForChecks = ({ manifest }) => manifest.includes('/loom/')
  const libraries = packages.filter((one) => one.library && !isForChecks(one))
  const folder = describe(root, libraries)
  return libraries.flatMap((library) => {
    const crate = library.name.replaceAll('-', '_')
    const { root: start, index } = JSON.parse(readFileSync(join(folder, `${crate}.json`), 'utf8'))
    if (!index[start]?.inner.module)
      throw new Error('rustdoc describes crates in a form that is not known here')
    const others = packages.filter((one) => one !== library && !isForChecks(one))
    const outside = others.map(({ src }) => namesIn(src))
    const tests = packages
      .flatMap((one) => (isForChecks(one) ? [one.src, one.rest] : [one.rest]))
      .map(namesIn)
    const found = problemsOf(new Api(crate, index, start, outside, namesIn(library.src)))
    return [...report(library.name, [...found], tests)]
  })
}

/** The problems but those that tests need, and what tests no longer need. */
function* report(library, problems, tests) {
  const excused = forTests[library] ?? []
  for (const { span, name, what } of problems.filter(({ name }) => !excused.includes(name))) {
    yield `${span.filename}:${span.begin[0]}: ${library}: ${name} ${what}`
  }
  for (const name of excused) {
    const word = name.match(/\w+$/)[0]
    const isUsed = tests.some(
      ({ words, paths }) => words.has(word) || paths.has(`${library.replaceAll('-', '_')}::${word}`),
    )
    if (!isUsed || !problems.some((problem) => problem.name === name)) {
      yield `scripts/structure/public.mjs: ${library}: ${name} is not there, or not for tests alone`
    }
  }
}

/** Has rustdoc describe the crates. Only its nightly version writes JSON, unless it is told that it is one. */
function describe(root, libraries) {
  const target = join(root, 'target/structure')
  const flags = '-Z unstable-options --output-format json --document-private-items -A warnings'
  const args = ['doc', '--quiet', '--no-deps', '--lib', '--locked', '--target-dir', target]
  execFileSync('cargo', [...args, ...libraries.flatMap(({ name }) => ['-p', name])], {
    cwd: root,
    env: { ...process.env, RUSTC_BOOTSTRAP: '1', RUSTDOCFLAGS: flags },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return join(target, 'doc')
}

class Api {
  /** Public items by id: `name` as it is shown, and `paths`, by which others can name it. */
  items = new Map()
  /** Modules and re-exports: `item`, and the `path` that it makes. */
  doors = []

  constructor(crate, index, start, outside, inside) {
    Object.assign(this, { index, outside, inside })
    this.walk(index[start].inner.module.items, [crate], true)
    this.findNeeded()
  }

  walk(ids, path, reachable, from = new Set()) {
    for (const item of ids.map((id) => this.index[id]).filter(Boolean)) {
      const { module, use } = item.inner
      const isPublic = reachable && item.visibility === 'public'
      if (use) {
        if (!isPublic) continue
        const own = this.index[use.id]
        const next = [...path, use.name]
        this.doors.push({ item, path: next, name: use.name })
        if (own?.inner.module && !from.has(use.id)) {
          this.walk(own.inner.module.items, use.is_glob ? path : next, true, new Set([...from, use.id]))
        } else if (own) this.place(own, next)
      } else if (module) {
        const next = [...path, item.name]
        if (isPublic) this.doors.push({ item, path: next, name: `the module ${item.name}` })
        this.walk(module.items, next, isPublic, from)
      } else if (item.visibility === 'public' && item.name) {
        this.place(item, isPublic ? [...path, item.name] : undefined)
      }
    }
  }

  place(item, path) {
    if (!this.items.has(item.id)) this.items.set(item.id, { item, paths: [] })
    if (path) this.items.get(item.id).paths.push(path)
  }

  /** Whether another crate names a path. */
  isNamed(path) {
    const parent = path.slice(0, -1).join('::')
    const names = ({ paths, globs, words }) =>
      paths.has(path.join('::')) || (globs.has(parent) && words.has(path.at(-1)))
    return this.outside.some(names)
  }

  findNeeded() {
    this.needed = new Set()
    for (const { item, paths } of this.items.values()) {
      if (paths.some((path) => this.isNamed(path))) this.need(item.id)
    }
  }

  need(id) {
    const entry = this.items.get(id)
    if (!entry || this.needed.has(id)) return
    this.needed.add(id)
    const { inner } = entry.item
    for (const kind of ['function', 'type_alias', 'constant', 'static'])
      if (inner[kind]) this.needTypes(inner[kind])
    const type = inner.struct ?? inner.enum ?? inner.trait
    if (!type) return
    this.needTypes([type.generics, type.bounds])
    if (inner.trait) for (const item of this.all(type.items)) this.needTypes(item.inner)
    for (const variant of this.all(type.variants)) {
      for (const field of this.all(fieldsOf(variant.inner.variant.kind))) this.needTypes(field.inner)
    }
    for (const member of this.membersOf(entry)) if (member.isUsed) this.needTypes(member.item.inner)
    for (const { inner } of this.all(type.impls)) {
      if (!inner.impl.trait || inner.impl.blanket_impl || inner.impl.is_synthetic) continue
      this.needTypes(inner.impl.trait.args)
      for (const item of this.all(inner.impl.items)) if (item.inner.assoc_type) this.needTypes(item.inner)
    }
  }

  /** Needs all types that a signature mentions. */
  needTypes(signature) {
    if (typeof signature !== 'object' || signature === null) return
    if (typeof signature.id === 'number') this.need(signature.id)
    for (const part of Object.values(signature)) this.needTypes(part)
  }

  all = (ids) => (ids ?? []).map((id) => this.index[id]).filter(Boolean)

  /** The public fields, functions and constants of a type, and whether another crate uses them. */
  membersOf({ item, paths }) {
    const { struct, impls = struct?.impls ?? item.inner.enum?.impls } = item.inner
    const own = this.all(impls).filter(({ inner }) => !inner.impl.trait)
    const functions = own.flatMap(({ inner }) => this.all(inner.impl.items))
    const members = [...this.all(struct && fieldsOf(struct.kind)), ...functions]
    return members
      .filter(({ visibility }) => visibility === 'public')
      .map((member) => ({ item: member, isUsed: this.isMemberUsed(member, paths) }))
  }

  isMemberUsed({ name, inner }, paths) {
    const isOf = (path, { fields }) => {
      const named = fields.get(path.join('::'))
      return named?.has(name) || named?.has('..') || (named?.has('()') && /^\d+$/.test(name))
    }
    if (paths.some((path) => this.isNamed([...path, name]))) return true
    if (!inner.struct_field) {
      const takesSelf = inner.function?.sig.inputs[0]?.[0] === 'self'
      return Boolean(takesSelf) && this.outside.some(({ methods }) => methods.has(name))
    }
    return this.outside.some((names) => names.reads.has(name) || paths.some((path) => isOf(path, names)))
  }
}

/** The fields of a structure or a variant, of which those of a tuple may be missing. */
function fieldsOf(kind) {
  if (Array.isArray(kind.tuple)) return kind.tuple.filter((id) => id !== null)
  return (kind.plain ?? kind.struct)?.fields ?? []
}

function* problemsOf(api) {
  const what = 'is pub, but no other crate uses it'
  for (const { item, path, name } of api.doors) {
    if (!api.isNamed(path)) yield { span: item.span, name, what }
  }
  const everywhere = [...api.outside, api.inside]
  for (const [id, entry] of api.items) {
    const { name, span, inner } = entry.item
    if (!api.needed.has(id)) {
      yield { span, name, what }
      continue
    }
    for (const { item: member, isUsed } of api.membersOf(entry)) {
      if (!isUsed) yield { span: member.span, name: `${name}::${member.name}`, what }
    }
    // These are as public as the type.
    for (const variant of api.all(inner.enum?.variants)) {
      const isNamed = ({ paths }) => [...paths].some((path) => path.endsWith(`::${variant.name}`))
      if (!everywhere.some(isNamed))
        yield { span: variant.span, name: `${name}::${variant.name}`, what: 'is never used' }
    }
    for (const method of api.all(inner.trait?.items).filter(({ inner }) => inner.function)) {
      const isCalled = ({ methods, paths }) =>
        methods.has(method.name) || paths.has(`${name}::${method.name}`)
      if (!everywhere.some(isCalled))
        yield { span: method.span, name: `${name}::${method.name}`, what: 'is never called' }
    }
  }
}
