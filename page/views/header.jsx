import { duration } from '../model/format.mjs'

export function Header({ state, onPause }) {
  const { kind, words } = statusOf(state)
  const isPaused = state.link === 'paused'
  return (
    <header>
      <h1>lock-inc {state.title && <span class="title">{state.title}</span>}</h1>
      <p class={`status ${kind}`} role="status">
        {words}
      </p>
      <button type="button" aria-pressed={isPaused} onClick={() => onPause(!isPaused)}>
        {isPaused ? 'Resume' : 'Pause'}
      </button>
    </header>
  )
}

function statusOf({ link, late, trouble, isListed }) {
  if (link === 'paused') return { kind: 'idle', words: 'Paused' }
  if (link === 'away') return { kind: 'bad', words: 'Disconnected' }
  if (link === 'connecting') return { kind: 'idle', words: 'Connecting' }
  if (trouble) return { kind: 'bad', words: 'No listing' }
  if (late > 2000) return { kind: 'warn', words: `Waiting for the store, ${duration(late)}` }
  return isListed ? { kind: 'good', words: 'Live' } : { kind: 'idle', words: 'Connecting' }
}
