import { moment } from '../model/format.mjs'

/** What is wrong, where something is, and how old what is shown is by now. */
export function Notice({ state }) {
  const words = wordsOf(state)
  // Always there: what appears together with its words is not read out.
  return (
    <div class="notice" role="alert">
      {words && (
        <p>
          {words} {state.isListed && `What you see is of ${moment(state.now, state.now)}.`}
        </p>
      )}
    </div>
  )
}

function wordsOf({ link, trouble }) {
  if (link === 'away') return 'The server of this page does not answer; it is tried again and again.'
  if (link === 'live' && trouble) return `The locks cannot be listed: ${trouble.message}.`
  return undefined
}
