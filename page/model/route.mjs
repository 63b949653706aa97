import { useEffect, useState } from 'preact/hooks'

/**
 * What is shown, after the `#` of the address: `list`, and one of it in full. So it can be linked to, and the browser's Back
 * closes what was opened.
 */
function read() {
  const [, list = '', ...rest] = location.hash.split('/')
  return { list: list === 'clients' ? 'clients' : 'locks', open: decode(rest.join('/')) }
}

function decode(text) {
  try {
    return decodeURIComponent(text) || undefined
  } catch {
    // Somebody has typed it.
    return undefined
  }
}

export const hashOf = (list, open) => `#/${list}${open ? `/${encodeURIComponent(open)}` : ''}`

export function go(list, open) {
  location.hash = hashOf(list, open)
}

export function useRoute() {
  const [route, setRoute] = useState(read)
  useEffect(() => {
    const update = () => setRoute(read())
    addEventListener('hashchange', update)
    return () => removeEventListener('hashchange', update)
  }, [])
  return route
}
