import { useEffect, useRef } from 'preact/hooks'

/** What is listed is narrowed down here. `/` leads to it from everywhere. */
export function Toolbar({ label, text, onText, found, children }) {
  const field = useRef()
  useEffect(() => {
    const focus = (event) => {
      const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)
      if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      field.current.focus()
    }
    addEventListener('keydown', focus)
    return () => removeEventListener('keydown', focus)
  }, [])
  return (
    <search class="toolbar">
      <input
        type="search"
        aria-label={label}
        placeholder={`${label}   /`}
        value={text}
        spellcheck={false}
        autocomplete="off"
        ref={field}
        onInput={({ target }) => onText(target.value)}
        onKeyDown={({ key }) => key === 'Escape' && onText('')}
      />
      {children}
      <output>{found}</output>
    </search>
  )
}
