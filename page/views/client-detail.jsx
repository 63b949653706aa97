import { count, duration, who } from '../model/format.mjs'
import { hashOf } from '../model/route.mjs'
import { Lease } from './bar.jsx'
import { Detail } from './detail.jsx'
import { Name } from './name.jsx'

/** So many are shown of what it holds, and of what it waits for. */
const SHOWN = 200

export function ClientDetail({ clientId, state, clients }) {
  const client = clients.find((one) => one.clientId === clientId)
  const { held, waiting } = client ?? { held: [], waiting: [] }
  return (
    <Detail list="clients" label={`Client ${client ? who(client) : clientId}`}>
      <h2>{client ? who(client) : clientId}</h2>
      <p class="facts">
        <span>client {clientId}</span>
      </p>
      {!client && <p class="none">It holds nothing, and waits for nothing.</p>}
      <Part title="Holds" entries={held}>
        {(entry) => <Lease holder={entry} now={state.now} />}
      </Part>
      <Part title="Waits for" entries={waiting}>
        {({ since }) => <span class="time">{duration(state.now - since)}</span>}
      </Part>
    </Detail>
  )
}

function Part({ title, entries, children }) {
  if (entries.length === 0) return null
  return (
    <>
      <h3>
        {title} {count(entries.length)}
      </h3>
      <ul class="owned">
        {entries.slice(0, SHOWN).map((entry) => (
          <li key={entry.id}>
            <a href={hashOf('locks', entry.name)}>
              <Name name={entry.name} />
            </a>
            {children(entry)}
          </li>
        ))}
      </ul>
      {entries.length > SHOWN && <p class="hint">and {count(entries.length - SHOWN)} more</p>}
    </>
  )
}
