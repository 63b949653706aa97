import { useEffect, useReducer, useRef } from 'preact/hooks'
import { urlOf } from './api.mjs'
import { NOTHING, next } from './state.mjs'
import { Stream } from './stream.mjs'

/** What the server tells, and a function that stops and resumes it. */
export function useFeed() {
  const [state, tell] = useReducer((state, [event, data]) => next(state, event, data), NOTHING)
  const stream = useRef()
  useEffect(() => {
    stream.current = new Stream(urlOf('events'), (event, data) => tell([event, data]))
  }, [])
  const pause = (isPaused) => {
    tell([isPaused ? 'pause' : 'resume'])
    stream.current.pause(isPaused)
  }
  return [state, pause]
}
