import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { BARE, label, OURS } from '../contestants/index.mjs'

const { document } = parseHTML('<!doctype html><html><body></body></html>')

export const WIDTH = 800
const SVG = 'http://www.w3.org/2000/svg'
const FONT = 'ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'
const FAINT = '#57606a'

const colours = {
  [OURS]: '#cf222e',
  'redlock-5': '#0550ae',
  'redlock-4': '#218bff',
  'redis-semaphore': '#116329',
  'redlock-universal': '#8250df',
  'simple-redis-mutex': '#9a6700',
  [BARE]: '#8c959f',
  'redis-benchmark': '#8c959f',
}

export const colour = (name) => colours[name] ?? FAINT
/** Whose line lies on top, and is thicker. */
export const weight = (name) => (name === OURS ? 3 : 1.6)

export function panel(options) {
  return Plot.plot({
    document,
    width: WIDTH,
    style: { fontFamily: FONT, fontSize: '13px', color: '#1f2328', background: 'white' },
    ...options,
  })
}

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value))
  if (text !== undefined) made.textContent = text
  return made
}

/** A logarithmic axis with a tick for each power of ten, and more only where there would be too few. */
export function decades(numbers) {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)]
  const first = Math.floor(Math.log10(low))
  const count = Math.ceil(Math.log10(high)) - first + 1
  const inside = (parts) =>
    Array.from({ length: count }, (_, index) => 10 ** (first + index))
      .flatMap((power) => parts.map((part) => part * power))
      .filter((tick) => tick >= low * 0.999 && tick <= high * 1.001)
  const sparse = inside([1])
  return { type: 'log', domain: [low, high], ticks: sparse.length > 2 ? sparse : inside([1, 2, 5]) }
}

/** Names at the right end of lines, moved apart where they would lie on each other. */
export function nameLines(svg, ends, { gap = 16 } = {}) {
  const [x, y] = [svg.scale('x'), svg.scale('y')]
  const placed = ends
    .map((end) => ({ ...end, left: x.apply(end.x), top: y.apply(end.y) }))
    .sort((a, b) => a.top - b.top)
  for (const [index, end] of placed.entries()) {
    const above = placed[index - 1]
    end.text = above ? Math.max(end.top, above.text + gap) : end.top
  }
  // Pushed beyond the bottom: the whole pile moves up again.
  const bottom = Math.max(...y.range)
  for (let index = placed.length - 1, limit = bottom; index >= 0; index--, limit -= gap) {
    placed[index].text = Math.min(placed[index].text, limit)
  }
  const column = Math.max(...placed.map(({ left }) => left)) + 14
  for (const { name, left, top, text } of placed) {
    const line = {
      x1: left + 3,
      y1: top,
      x2: column - 3,
      y2: text,
      stroke: colour(name),
      'stroke-opacity': 0.6,
      'stroke-dasharray': '1 3',
    }
    svg.append(element('line', line))
    const bold = name === OURS ? 'bold' : 'normal'
    const style = { fill: colour(name), 'font-weight': bold, 'font-size': 13, 'text-anchor': 'start' }
    svg.append(element('text', { x: column, y: text, dy: '0.32em', ...style }, label(name)))
  }
  return svg
}

/** Panels below each other, under a title and a line that says what is better. */
export function picture({ title, better, panels, note }) {
  const titleHeight = 58
  const captionHeight = 26
  let top = titleHeight
  const placed = panels.map(({ caption, svg }) => {
    const from = top
    top += Number(svg.getAttribute('height')) + (caption ? captionHeight : 0)
    return { caption, svg, from }
  })
  const height = top + (note ? 26 : 8)
  const outer = element('svg', {
    xmlns: SVG,
    width: WIDTH,
    height,
    viewBox: `0 0 ${WIDTH} ${height}`,
    'font-family': FONT,
    role: 'img',
    'aria-label': title,
  })
  outer.append(element('rect', { width: WIDTH, height, fill: 'white' }))
  outer.append(
    element('text', { x: 16, y: 26, 'font-size': 18, 'font-weight': 'bold', fill: '#1f2328' }, title),
  )
  outer.append(element('text', { x: 16, y: 47, 'font-size': 14, fill: FAINT }, better))
  for (const { caption, svg, from } of placed) {
    if (caption) {
      const style = { 'font-size': 14, 'font-weight': 'bold', fill: '#1f2328' }
      outer.append(element('text', { x: 16, y: from + 17, ...style }, caption))
    }
    svg.setAttribute('y', String(from + (caption ? captionHeight : 0)))
    outer.append(svg)
  }
  if (note) outer.append(element('text', { x: 16, y: height - 10, 'font-size': 12, fill: FAINT }, note))
  return `${outer.toString()}\n`
}

/** Under which conditions a picture was measured, in a line. */
export function conditionsNote({ cpu, cores, node, server, date, rounds }) {
  const redis = server.match(/v=([\d.]+)/)?.[1] ?? server
  return `${cpu}, ${cores} cores, Node ${node}, Redis ${redis}, ${rounds} rounds, ${date.slice(0, 10)}`
}
