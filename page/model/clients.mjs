/** Those who hold or wait, each with what. What is held by nobody that is known is left out. */
export function clientsOf(entries) {
  const clients = new Map()
  for (const entry of entries.values()) {
    const { clientId, host, pid } = entry
    if (clientId === null) continue
    let client = clients.get(clientId)
    if (client === undefined) {
      client = { clientId, host, pid, held: [], waiting: [], since: undefined }
      clients.set(clientId, client)
    }
    if (entry.kind === 'held') client.held.push(entry)
    else client.waiting.push(entry)
    if (entry.since) client.since = Math.min(entry.since, client.since ?? Infinity)
  }
  return [...clients.values()]
}

const { compare } = new Intl.Collator(undefined, { numeric: true })

export const ORDERS = {
  host: (a, b) => compare(a.host, b.host) || a.pid - b.pid,
  held: (a, b) => b.held.length - a.held.length,
  waiting: (a, b) => b.waiting.length - a.waiting.length,
  since: (a, b) => (a.since ?? Infinity) - (b.since ?? Infinity) || 0,
}

export function filtered(clients, text) {
  const wanted = text.toLowerCase()
  const words = ({ clientId, host, pid, held, waiting }) =>
    [clientId, host, pid, ...[...held, ...waiting].map(({ name }) => name)].join(' ').toLowerCase()
  return wanted === '' ? clients : clients.filter((client) => words(client).includes(wanted))
}
