/** The page is where its handler is; all that it asks for is below that. */
const base = location.pathname.replace(/\/$/, '')

export const urlOf = (path, query) => `${base}/${path}${query ? `?${new URLSearchParams(query)}` : ''}`

export function inspect(name, signal) {
  return ask(urlOf('inspect', { name }), { signal })
}

/** `holders`: who is to lose it. If somebody else holds it by then, that is refused. */
export function unlock(name, holders, token) {
  const told = holders.map(({ token }) => token ?? 'unknown').join()
  return ask(urlOf('unlock', { name, holders: told }), {
    method: 'POST',
    headers: { 'X-Lock-Inc-Token': token },
  })
}

async function ask(url, init) {
  const response = await fetch(url, init)
  const isJson = response.headers.get('Content-Type')?.startsWith('application/json')
  const answer = isJson ? await response.json() : { message: `The server answered with ${response.status}` }
  if (!response.ok) throw new Error(answer.message)
  return answer
}
