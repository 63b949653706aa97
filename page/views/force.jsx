import { useRef, useState } from 'preact/hooks'
import { unlock } from '../model/api.mjs'
import { counted, duration, visible, who } from '../model/format.mjs'

/** Takes a lock from its holder, after a question that names who that is. */
export function Force({ name, holders, waiters, state, onDone }) {
  const dialog = useRef()
  // What the question is about stays as it was when it was put.
  const [asked, setAsked] = useState()
  const [problem, setProblem] = useState()
  const [isBusy, setIsBusy] = useState(false)

  function ask() {
    setAsked({ holders, waiters, now: state.now })
    setProblem(undefined)
    dialog.current.showModal()
  }

  async function force() {
    setIsBusy(true)
    try {
      await unlock(name, asked.holders, state.token)
      dialog.current.close()
    } catch (error) {
      setProblem(error.message)
    }
    setIsBusy(false)
    onDone()
  }

  return (
    <>
      <button type="button" class="danger" onClick={ask}>
        Force unlock…
      </button>
      <dialog ref={dialog} aria-labelledby="question">
        {asked && (
          <>
            <h2 id="question">
              Take <bdi>{visible(name)}</bdi> from its {asked.holders.length > 1 ? 'holders' : 'holder'}?
            </h2>
            <Question {...asked} />
            {problem && (
              <p class="problem" role="alert">
                Not done: {problem}
              </p>
            )}
            <div class="choice">
              <button type="button" autofocus onClick={() => dialog.current.close()}>
                Cancel
              </button>
              <button type="button" class="danger" disabled={isBusy} onClick={force}>
                Force unlock
              </button>
            </div>
          </>
        )}
      </dialog>
    </>
  )
}

function Question({ holders, waiters, now }) {
  const [first, ...others] = holders
  const [next] = waiters
  return (
    <>
      <p>
        {first.clientId === null ? 'lock-inc 1.2.0' : <span class="who">{who(first)}</span>}
        {first.since && ` has held it for ${duration(now - first.since)}`}
        {others.length > 0 && `, and ${counted(others.length, 'other')} beside it`}.{' '}
        {holders.length > 1 ? 'They are' : 'It is'} told that the lock is lost, but what{' '}
        {holders.length > 1 ? 'they do' : 'it does'} may go on all the same: only fencing tokens keep late
        writes out.
      </p>
      <p>
        {next ? (
          <>
            Next in the queue is <span class="who">{who(next)}</span>, which gets it at once.
          </>
        ) : (
          'Nobody waits for it, so it will be free.'
        )}
      </p>
    </>
  )
}
