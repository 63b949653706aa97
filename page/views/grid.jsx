import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'

const ROW = 34
const HEAD = 34
/** So many rows are there beyond what is seen, on either side. */
const BEYOND = 8

/**
 * A list of any length, of which only the rows that are seen exist. The keyboard has one place in it, which stays with its row
 * wherever that is sorted to.
 *
 * `columns`: `{ key, label, cell(row) }`, the order of which is in `sort` as `{ by, down }`.
 */
export function Grid({ label, columns, rows, keyOf, sort, onSort, open, onOpen, children }) {
  const box = useRef()
  const [{ top, height }, setPlace] = useState({ top: 0, height: 800 })
  const [active, setActive] = useState(open)
  const [isIn, setIsIn] = useState(false)

  useLayoutEffect(() => {
    const measure = () => setPlace({ top: box.current.scrollTop, height: box.current.clientHeight })
    const observer = new ResizeObserver(measure)
    observer.observe(box.current)
    measure()
    return () => observer.disconnect()
  }, [])

  useEffect(() => {
    if (open !== undefined) setActive(open)
  }, [open])

  const from = Math.max(0, Math.min(Math.floor(top / ROW) - BEYOND, rows.length - 1))
  const to = Math.min(rows.length, Math.ceil((top + height) / ROW) + BEYOND)
  const place = rows.findIndex((row) => keyOf(row) === active)
  const isSeen = place >= from && place < to

  function move(to) {
    const row = Math.max(0, Math.min(rows.length - 1, to))
    if (rows.length === 0) return
    setActive(keyOf(rows[row]))
    const { scrollTop, clientHeight } = box.current
    const last = scrollTop + clientHeight - HEAD - ROW
    if (row * ROW < scrollTop) box.current.scrollTop = row * ROW
    else if (row * ROW > last) box.current.scrollTop += row * ROW - last
  }

  const page = Math.max(1, Math.floor((height - HEAD) / ROW) - 1)
  const keys = {
    ArrowDown: () => move(place + 1),
    ArrowUp: () => move(place < 0 ? 0 : place - 1),
    PageDown: () => move(place + page),
    PageUp: () => move(place - page),
    Home: () => move(0),
    End: () => move(rows.length - 1),
    Enter: () => place >= 0 && onOpen(active),
  }

  function onKeyDown(event) {
    // The buttons in the head have keys of their own.
    if (event.target !== box.current || event.ctrlKey || event.metaKey || event.altKey) return
    if (!Object.hasOwn(keys, event.key)) return
    event.preventDefault()
    keys[event.key]()
  }

  return (
    <div
      class="grid"
      role="grid"
      aria-label={label}
      aria-rowcount={rows.length + 1}
      aria-activedescendant={isSeen ? `row-${place}` : undefined}
      tabIndex={0}
      ref={box}
      onScroll={() => setPlace({ top: box.current.scrollTop, height: box.current.clientHeight })}
      onKeyDown={onKeyDown}
      onFocus={() => setIsIn(true)}
      onBlur={() => setIsIn(false)}
    >
      <div class="row head" role="row" aria-rowindex={1}>
        {columns.map((column) => (
          <Heading key={column.key} column={column} sort={sort} onSort={onSort} />
        ))}
      </div>
      <div class="rows" role="rowgroup" style={{ height: `${rows.length * ROW}px` }}>
        {rows.slice(from, to).map((row, index) => {
          const key = keyOf(row)
          const isActive = key === active
          return (
            <div
              class={`row ${isActive && isIn ? 'active' : ''}`}
              role="row"
              id={`row-${from + index}`}
              key={key}
              aria-rowindex={from + index + 2}
              aria-selected={key === open}
              style={{ transform: `translateY(${(from + index) * ROW}px)` }}
              onClick={() => {
                setActive(key)
                onOpen(key)
              }}
            >
              {columns.map((column) => (
                <div class={`cell ${column.key}`} role="gridcell" key={column.key}>
                  {column.cell(row)}
                </div>
              ))}
            </div>
          )
        })}
      </div>
      {rows.length === 0 && <div class="empty">{children}</div>}
    </div>
  )
}

function Heading({ column: { key, label }, sort, onSort }) {
  const isSorted = sort.by === key
  const direction = sort.down ? 'descending' : 'ascending'
  return (
    <div class={`cell ${key}`} role="columnheader" aria-sort={isSorted ? direction : 'none'}>
      <button type="button" onClick={() => onSort({ by: key, down: isSorted && !sort.down })}>
        {label} <span aria-hidden="true">{isSorted ? (sort.down ? '▴' : '▾') : ''}</span>
      </button>
    </div>
  )
}
