import { useState } from 'preact/hooks'
import { moment } from '../model/format.mjs'

const [WIDTH, HEIGHT] = [300, 40]

/** A number over the last minutes. `points`: `{ at, value }`; where there are none for long, nobody has looked. */
export function Level({ points, now, span, kind, format, label }) {
  const top = topOf(points)
  const x = (at) => (1 - (now - at) / span) * WIDTH
  const y = (value) => HEIGHT - (value / top) * (HEIGHT - 2)
  let line = ''
  points.forEach(({ at, value }, index) => {
    const isApart = index === 0 || at - points[index - 1].at > 5000
    line += `${isApart ? 'M' : 'L'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`
  })
  return (
    <Chart points={points} kind={kind} format={format} label={label} x={x}>
      <path class="line" d={line} vector-effect="non-scaling-stroke" />
    </Chart>
  )
}

/** So much in each of the steps of the last minutes. */
export function Bars({ points, kind, format, label }) {
  const top = topOf(points)
  const step = WIDTH / points.length
  const x = (_at, index) => (index + 0.5) * step
  return (
    <Chart points={points} kind={kind} format={format} label={label} x={x}>
      {points.map(({ at, value }, index) => {
        const height = value === 0 ? 0 : Math.max(1.5, (value / top) * HEIGHT)
        return <rect key={at} x={index * step} y={HEIGHT - height} width={step - 1} height={height} />
      })}
    </Chart>
  )
}

const topOf = (points) => Math.max(1, ...points.map(({ value }) => value))

/** What is pointed at is told in words. */
function Chart({ points, kind, format, label, x, children }) {
  const [pointed, setPointed] = useState()
  const nearest = (event) => {
    const { left, width } = event.currentTarget.getBoundingClientRect()
    const at = ((event.clientX - left) / width) * WIDTH
    let best
    points.forEach((point, index) => {
      const off = Math.abs(x(point.at, index) - at)
      if (best === undefined || off < best.off) best = { off, point, x: x(point.at, index) }
    })
    setPointed(best)
  }
  return (
    <div class={`chart ${kind}`} onPointerMove={nearest} onPointerLeave={() => setPointed(undefined)}>
      <svg role="img" aria-label={label} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none">
        {children}
        {pointed && (
          <path class="pointer" d={`M${pointed.x} 0V${HEIGHT}`} vector-effect="non-scaling-stroke" />
        )}
      </svg>
      {pointed && (
        <span class="tip">
          {moment(pointed.point.at, pointed.point.at)} · {format(pointed.point.value)}
        </span>
      )}
    </div>
  )
}

/** How many of each class, side by side. */
export function Histogram({ values, titles, label }) {
  const top = Math.max(1, ...values)
  const step = WIDTH / values.length
  return (
    <div class="chart waits">
      <svg role="img" aria-label={label} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none">
        {values.map((value, index) => {
          const height = value === 0 ? 0 : Math.max(1.5, (value / top) * HEIGHT)
          return (
            <rect key={titles[index]} x={index * step} y={HEIGHT - height} width={step - 1.5} height={height}>
              <title>{titles[index]}</title>
            </rect>
          )
        })}
        <path class="ground" d={`M0 ${HEIGHT}H${WIDTH}`} vector-effect="non-scaling-stroke" />
      </svg>
    </div>
  )
}
