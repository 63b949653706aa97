import { useEffect, useMemo } from 'preact/hooks'
import { clientsOf } from '../model/clients.mjs'
import { count } from '../model/format.mjs'
import { locksOf } from '../model/locks.mjs'
import { hashOf, useRoute } from '../model/route.mjs'
import { useFeed } from '../model/use-feed.mjs'
import { ClientDetail } from './client-detail.jsx'
import { Clients } from './clients.jsx'
import { Header } from './header.jsx'
import { LockDetail } from './lock-detail.jsx'
import { Locks } from './locks.jsx'
import { Notice } from './notice.jsx'
import { Summary } from './summary.jsx'

export function App() {
  const [state, pause] = useFeed()
  const { list, open } = useRoute()
  const locks = useMemo(() => locksOf(state.entries), [state.entries])
  const clients = useMemo(() => clientsOf(state.entries), [state.entries])
  useEffect(() => {
    document.title = state.title ? `${state.title} · lock-inc` : 'lock-inc'
  }, [state.title])

  // What is old is shown as it was, and not as if it went on.
  const isStale = state.isListed && (state.link === 'away' || state.trouble !== null)
  return (
    <div class={`app ${isStale ? 'stale' : ''} ${open ? 'with-detail' : ''}`}>
      <Header state={state} onPause={pause} />
      <Notice state={state} />
      <Summary state={state} locks={locks} clients={clients} />
      <nav class="tabs" aria-label="What is listed">
        <Tab list="locks" current={list} label="Locks" number={state.isListed && locks.length} />
        <Tab list="clients" current={list} label="Clients" number={state.isListed && clients.length} />
      </nav>
      <main>
        {list === 'clients' ? (
          <Clients state={state} clients={clients} open={open} />
        ) : (
          <Locks state={state} locks={locks} open={open} />
        )}
        {open && list === 'locks' && <LockDetail key={open} name={open} state={state} locks={locks} />}
        {open && list === 'clients' && (
          <ClientDetail key={open} clientId={open} state={state} clients={clients} />
        )}
      </main>
    </div>
  )
}

function Tab({ list, current, label, number }) {
  return (
    <a href={hashOf(list)} aria-current={list === current ? 'page' : undefined}>
      {label} {number !== false && <span class="number">{count(number)}</span>}
    </a>
  )
}
