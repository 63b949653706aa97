/** The resources that are held or waited for, each with those who do, from the entries of the server. */
export function locksOf(entries) {
  const locks = new Map()
  for (const entry of entries.values()) {
    let lock = locks.get(entry.name)
    if (lock === undefined) {
      lock = { name: entry.name, mode: undefined, holders: [], waiters: [] }
      locks.set(entry.name, lock)
    }
    if (entry.kind === 'held') lock.holders.push(entry)
    else lock.waiters.push(entry)
  }
  for (const lock of locks.values()) complete(lock)
  return [...locks.values()]
}

const bySince = (a, b) => (a.since ?? Infinity) - (b.since ?? Infinity) || a.id - b.id

function complete(lock) {
  if (lock.holders.length > 1) lock.holders.sort(bySince)
  if (lock.waiters.length > 1) lock.waiters.sort(bySince)
  const [first] = lock.holders
  lock.mode = first?.mode
  lock.since = first?.since
  // When it is free at the latest, if nobody renews.
  lock.last = lock.holders.reduce((last, holder) => (last?.end > holder.end ? last : holder), undefined)
  lock.waitedFor = lock.waiters[0]?.since
}

/** Of what is told of a client, so that a filter can be about that, too. */
const wordsOf = ({ name, holders, waiters }) =>
  [name, ...[...holders, ...waiters].map(({ host, pid, clientId }) => `${host} ${pid} ${clientId}`)].join(' ')

export const VIEWS = {
  all: { label: 'All', has: () => true },
  waited: { label: 'Waited for', has: ({ waiters }) => waiters.length > 0 },
  shared: { label: 'Shared', has: ({ mode }) => mode === 'shared' },
}

export function filtered(locks, view, text) {
  const wanted = text.toLowerCase()
  const { has } = VIEWS[view]
  return locks.filter((lock) => has(lock) && (wanted === '' || wordsOf(lock).toLowerCase().includes(wanted)))
}

const { compare } = new Intl.Collator(undefined, { numeric: true })
const last = (value) => value ?? Infinity

/** What it can be sorted by. Those that are descending at first have what is worth a look at the top. */
export const ORDERS = {
  name: (a, b) => compare(a.name, b.name),
  holder: (a, b) => compare(hostOf(a), hostOf(b)) || (a.holders[0]?.pid ?? 0) - (b.holders[0]?.pid ?? 0),
  held: (a, b) => last(a.since) - last(b.since) || 0,
  lease: (a, b) => last(a.last?.end) - last(b.last?.end) || 0,
  waiting: (a, b) => b.waiters.length - a.waiters.length || last(a.waitedFor) - last(b.waitedFor) || 0,
}

const hostOf = ({ holders: [first] }) => first?.host ?? ''

/** `down`: the other way round. Those that are equal have held it for longest first. */
export function sorted(rows, orders, { by, down }) {
  const order = orders[by]
  const sign = down ? -1 : 1
  return [...rows].sort((a, b) => sign * order(a, b) || last(a.since) - last(b.since) || 0)
}

/** Of other lockers a name is told up to this length in UTF-8: then it may be but the beginning of one, or of several. */
export function mayBeCut(name) {
  const { length } = new TextEncoder().encode(name)
  return length > 252 && length <= 256
}
