import { useMemo, useState } from 'preact/hooks'
import { filtered, ORDERS } from '../model/clients.mjs'
import { count, counted, duration, visible, who } from '../model/format.mjs'
import { sorted } from '../model/locks.mjs'
import { go } from '../model/route.mjs'
import { Grid } from './grid.jsx'
import { Toolbar } from './toolbar.jsx'

const namesOf = (entries) => entries.map(({ name }) => visible(name)).join(', ')

const columnsAt = (now) => [
  { key: 'host', label: 'Client', cell: (client) => <span class="who">{who(client)}</span> },
  {
    key: 'held',
    label: 'Holds',
    cell: ({ held }) => (
      <>
        {held.length === 0 ? <span class="none">–</span> : count(held.length)}
        <bdi class="names">{namesOf(held.slice(0, 4))}</bdi>
      </>
    ),
  },
  {
    key: 'waiting',
    label: 'Waits for',
    cell: ({ waiting }) => (
      <>
        {waiting.length === 0 ? (
          <span class="none">–</span>
        ) : (
          <span class="chip">{count(waiting.length)}</span>
        )}
        <bdi class="names">{namesOf(waiting.slice(0, 4))}</bdi>
      </>
    ),
  },
  { key: 'since', label: 'Longest', cell: ({ since }) => (since ? duration(now - since) : '–') },
]

export function Clients({ state, clients, open }) {
  const [text, setText] = useState('')
  const [sort, setSort] = useState({ by: 'held', down: false })
  const rows = useMemo(
    () => sorted(filtered(clients, text), ORDERS, sort),
    [clients, text, sort.by, sort.down],
  )
  return (
    <section class="list clients">
      <Toolbar
        label="Filter by host, pid, name"
        text={text}
        onText={setText}
        found={text === '' ? '' : `${count(rows.length)} of ${counted(clients.length, 'client')}`}
      />
      <Grid
        label="Clients"
        columns={columnsAt(state.now)}
        rows={rows}
        keyOf={({ clientId }) => clientId}
        sort={sort}
        onSort={setSort}
        open={open}
        onOpen={(clientId) => go('clients', clientId)}
      >
        <p>
          {state.isListed
            ? text === ''
              ? 'Nobody holds or waits.'
              : 'No client is like that.'
            : 'Waiting for the first listing…'}
        </p>
      </Grid>
    </section>
  )
}
