// Which crate may use what, and whether it does.
import { namesIn } from './rust.mjs'
import { textOf } from './workspace.mjs'

/** Which of the workspace's crates a crate may use. */
const allowed = {
  'lock-inc-core': [],
  'lock-inc-exec': [],
  'lock-inc-memory': ['lock-inc-core'],
  'lock-inc-redis': ['lock-inc-core', 'lock-inc-exec'],
  'lock-inc': ['lock-inc-core', 'lock-inc-exec', 'lock-inc-memory', 'lock-inc-redis'],
  'lock-inc-exec-loom': ['lock-inc-exec'],
  // A stand-in for the crate of that name, in the model checks.
  'portable-atomic': [],
}

/** Crates of others that are for few of ours. */
const only = {
  napi: ['lock-inc'],
  'napi-build': ['lock-inc'],
  'napi-derive': ['lock-inc'],
  getrandom: ['lock-inc'],
  libc: ['lock-inc', 'lock-inc-redis'],
  redis: ['lock-inc-redis'],
  rustls: ['lock-inc-redis'],
  socket2: ['lock-inc-redis'],
  'x509-cert': ['lock-inc-redis'],
  'async-task': ['lock-inc-exec'],
  'atomic-waker': ['lock-inc-exec'],
  loom: ['lock-inc-exec', 'lock-inc-exec-loom', 'portable-atomic'],
}

const io = [
  'std::fs',
  'std::io',
  'std::net',
  'std::os',
  'std::process',
  'std::thread',
  'std::env',
  'tokio::net',
]
const clocks = ['std::time::Instant', 'std::time::SystemTime']

/** What a crate may not name: it is given its store, its clock and its source of randomness. */
const banned = { 'lock-inc-core': [...io, ...clocks], 'lock-inc-memory': io }

export function checkCrates({ packages }) {
  return [
    ...packages.flatMap((one) => [...edges(one), ...unused(one), ...named(one)]),
    ...unusedInWorkspace(packages),
  ]
}

function* edges({ name, manifest, dependencies }) {
  if (!allowed[name]) yield `${manifest}: ${name} is not in the table of scripts/structure/crates.mjs`
  for (const { name: other } of dependencies) {
    const ours = other in allowed && other !== 'portable-atomic'
    if (ours && !allowed[name]?.includes(other)) yield `${manifest}: ${name} must not depend on ${other}`
    if (only[other] && !only[other].includes(name)) {
      yield `${manifest}: ${name} must not depend on ${other}, which is for ${only[other].join(' and ')}`
    }
  }
}

function* unused({ name, manifest, dependencies, src, rest, build }) {
  const places = { normal: [...src, ...rest], dev: [...src, ...rest], build }
  for (const { name: other, rename, kind } of dependencies) {
    const word = (rename ?? other).replaceAll('-', '_')
    const place = places[kind ?? 'normal']
    if (!place.some(({ tokens }) => tokens.includes(word))) {
      yield `${manifest}: ${name} depends on ${other}, but does not use it`
    }
  }
}

function* named({ name, src }) {
  for (const source of banned[name] ? src : []) {
    // The tests of a crate may do as they like.
    if (source.file.endsWith('/tests.rs')) continue
    const { paths } = namesIn([source])
    for (const path of banned[name]) {
      if (paths.has(path)) yield `${source.file}: ${name} must not use ${path}`
    }
  }
}

function* unusedInWorkspace(packages) {
  const [table] = textOf('Cargo.toml').match(/(?<=\[workspace\.dependencies\]\n)(?:.+\n)*/)
  for (const [, name] of table.matchAll(/^([\w-]+) *=/gm)) {
    const use = new RegExp(`^${name}(\\.workspace *= *true| *=.*workspace *= *true)`, 'm')
    if (!packages.some(({ manifest }) => use.test(textOf(manifest)))) {
      yield `Cargo.toml: ${name} is in workspace.dependencies, but no crate takes it from there`
    }
  }
}
