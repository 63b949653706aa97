import { useEffect, useRef } from 'preact/hooks'
import { go } from '../model/route.mjs'

/** One of the list in full, beside it. Escape closes it. */
export function Detail({ list, label, children, foot }) {
  const box = useRef()
  useEffect(() => {
    // For who goes by keyboard or ear; the list keeps its place, and gets the focus back.
    const before = document.activeElement
    box.current.focus({ preventScroll: true })
    return () => before?.isConnected && before.focus({ preventScroll: true })
  }, [])
  useEffect(() => {
    // A question, or a field with something in it, has an Escape of its own.
    const close = ({ key, target }) => key === 'Escape' && !target.closest('dialog, input') && go(list)
    addEventListener('keydown', close)
    return () => removeEventListener('keydown', close)
  }, [list])
  return (
    <aside aria-label={label} tabIndex={-1} ref={box}>
      <button type="button" class="close" aria-label="Close" onClick={() => go(list)}>
        ✕
      </button>
      <div class="content">{children}</div>
      {foot && <footer>{foot}</footer>}
    </aside>
  )
}
