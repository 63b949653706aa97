import { useMemo, useState } from 'preact/hooks'
import { count, counted, duration, visible, who } from '../model/format.mjs'
import { filtered, ORDERS, sorted, VIEWS } from '../model/locks.mjs'
import { go } from '../model/route.mjs'
import { Lease } from './bar.jsx'
import { Grid } from './grid.jsx'
import { Name } from './name.jsx'
import { Toolbar } from './toolbar.jsx'

const columnsAt = (now) => [
  { key: 'name', label: 'Name', cell: ({ name }) => <Name name={name} /> },
  { key: 'holder', label: 'Held by', cell: (lock) => <Holders lock={lock} /> },
  { key: 'held', label: 'Held for', cell: ({ since }) => (since ? duration(now - since) : '–') },
  { key: 'lease', label: 'Lease left', cell: ({ last }) => <Lease holder={last} now={now} /> },
  { key: 'waiting', label: 'Waiting', cell: (lock) => <Waiting lock={lock} now={now} /> },
]

function Holders({ lock: { holders, mode } }) {
  const [first, ...others] = holders
  if (first === undefined) return <span class="none">not told</span>
  return (
    <>
      {mode === 'shared' && <span class="mode">shared</span>}
      <span class="who">{who(first)}</span>
      {others.length > 0 && <span class="more">+ {count(others.length)}</span>}
    </>
  )
}

function Waiting({ lock: { waiters, waitedFor }, now }) {
  if (waiters.length === 0) return <span class="none">–</span>
  return (
    <>
      <span class="chip">{count(waiters.length)}</span> {duration(now - waitedFor)}
    </>
  )
}

export function Locks({ state, locks, open }) {
  const [text, setText] = useState('')
  const [view, setView] = useState('all')
  const [sort, setSort] = useState({ by: 'waiting', down: false })
  const rows = useMemo(
    () => sorted(filtered(locks, view, text), ORDERS, sort),
    [locks, view, text, sort.by, sort.down],
  )
  const isNarrowed = text !== '' || view !== 'all'
  return (
    <section class="list">
      <Toolbar
        label="Filter by name, host, pid"
        text={text}
        onText={setText}
        found={isNarrowed ? `${count(rows.length)} of ${counted(locks.length, 'lock')}` : ''}
      >
        <fieldset class="views">
          <legend>Which locks</legend>
          {Object.entries(VIEWS).map(([key, { label }]) => (
            <button type="button" key={key} aria-pressed={key === view} onClick={() => setView(key)}>
              {label}
            </button>
          ))}
        </fieldset>
        {text !== '' && (
          <button type="button" onClick={() => go('locks', text)}>
            Look up this name
          </button>
        )}
      </Toolbar>
      <Grid
        label="Locks"
        columns={columnsAt(state.now)}
        rows={rows}
        keyOf={({ name }) => name}
        sort={sort}
        onSort={setSort}
        open={open}
        onOpen={(name) => go('locks', name)}
      >
        <Empty state={state} isNarrowed={isNarrowed} text={text} />
      </Grid>
    </section>
  )
}

function Empty({ state, isNarrowed, text }) {
  if (!state.isListed) return <p>Waiting for the first listing…</p>
  if (!isNarrowed) {
    return (
      <>
        <p>Nothing is locked.</p>
        <p class="hint">
          A lock is listed when it has lasted for about 0.1 s, one of lock-inc 1.2.0 only if somebody waits
          for it.
        </p>
      </>
    )
  }
  return (
    <>
      <p>No lock {text === '' ? 'like that' : <>is about “{visible(text)}”</>}.</p>
      {text !== '' && (
        <p class="hint">
          Whether a lock of just this name is held tells “Look up this name”, for locks of lock-inc 1.2.0,
          too.
        </p>
      )}
    </>
  )
}
