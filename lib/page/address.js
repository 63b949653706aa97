'use strict'

/**
 * What a request asks for, below the path where the page is: `path` is `/` for the page itself, and `undefined` for what is
 * elsewhere.
 */
function addressOf({ url, originalUrl = url }, basePath) {
  // Express and its like leave out of `url` where they have mounted the handler.
  const [path, query] = cut(basePath === '' ? url : originalUrl, '?')
  const isBelow = path === basePath || path.startsWith(`${basePath}/`)
  return {
    path: isBelow ? path.slice(basePath.length) || '/' : undefined,
    query: new URLSearchParams(query),
  }
}

function cut(text, separator) {
  const place = text.indexOf(separator)
  return place < 0 ? [text, ''] : [text.slice(0, place), text.slice(place + 1)]
}

module.exports = { addressOf }
