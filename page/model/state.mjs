import { withLease } from './lease.mjs'

/** So much of the last minutes is shown, in ms. */
export const SPAN = 300_000

/**
 * What the page knows. It is never changed, but made anew by each event. `link`: whether there is a connection to the server
 * of the page, `trouble` and `late`: whether that can list anything. `now`: of what is shown, by the server's clock.
 */
export const NOTHING = {
  link: 'connecting',
  title: '',
  process: null,
  token: null,
  late: 0,
  trouble: null,
  isListed: false,
  now: 0,
  entries: new Map(),
  history: [],
  rates: [],
}

const after = {
  hello: (state, { title, process, token }) => ({ ...state, title, process, token }),
  all: (state, data) => listed(state, new Map(), data, { history: [], rates: [] }),
  changes: (state, data) => listed(state, state.entries, data, state),
  late: (state, { now, since }) => ({ ...state, link: 'live', late: since, now }),
  trouble: (state, { code, message }) => ({ ...state, link: 'live', late: 0, trouble: { code, message } }),
  away: (state) => ({ ...state, link: 'away' }),
  pause: (state) => ({ ...state, link: 'paused' }),
  resume: (state) => ({ ...state, link: 'connecting' }),
}

export function next(state, event, data) {
  return after[event](state, data)
}

function listed(state, known, { now, put, gone = [], history, rates = [] }, kept) {
  const entries = put.length + gone.length > 0 ? new Map(known) : known
  for (const id of gone) entries.delete(id)
  for (const said of put) {
    const entry = { ...said, since: said.since && Date.parse(said.since) }
    // After a new connection, ids may be those of another process.
    const before = state.entries.get(entry.id)
    const isSame = before?.name === entry.name && before.clientId === entry.clientId
    entries.set(entry.id, entry.kind === 'held' ? withLease(entry, isSame ? before : undefined, now) : entry)
  }
  return {
    ...state,
    link: 'live',
    late: 0,
    trouble: null,
    isListed: true,
    now,
    entries,
    history: [...kept.history, ...history].filter(({ at }) => at > now - SPAN),
    rates: [...kept.rates, ...rates].filter(({ at }) => at * 1000 > now - SPAN),
  }
}
