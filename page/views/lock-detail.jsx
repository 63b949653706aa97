import { useEffect, useRef, useState } from 'preact/hooks'
import { inspect } from '../model/api.mjs'
import { count, counted, duration, moment, visible, who } from '../model/format.mjs'
import { wholeLease } from '../model/lease.mjs'
import { mayBeCut } from '../model/locks.mjs'
import { hashOf } from '../model/route.mjs'
import { Lease } from './bar.jsx'
import { Detail } from './detail.jsx'
import { Force } from './force.jsx'

/** So many of a queue are shown. */
const SHOWN = 200

export function LockDetail({ name, state, locks }) {
  const listed = locks.find((lock) => lock.name === name)
  const { answer, problem, askAgain } = useInspection(name, state)
  const { holders, waiters } = seen(answer, listed)
  const isCut = mayBeCut(name)
  const canForce = state.token !== null && state.link === 'live' && !isCut && holders.length > 0
  const foot = canForce && (
    <Force name={name} holders={holders} waiters={waiters} state={state} onDone={askAgain} />
  )
  return (
    <Detail list="locks" label={`Lock ${visible(name)}`} foot={foot}>
      <h2>
        <bdi>{visible(name)}</bdi>
      </h2>
      <p class="facts">
        {holders.length > 0 && <span>{holders[0].mode}</span>}
        {answer?.found && <span>{counted(answer.found.count, 'attempt')} since it was taken</span>}
      </p>
      {isCut && (
        <p class="hint">
          Names are told up to 256 bytes. This may be the beginning of a longer one, or of several, so it
          cannot be looked up.
        </p>
      )}
      {problem && <p class="problem">It cannot be looked up: {problem}</p>}
      <h3>{holders.length > 1 ? `${count(holders.length)} holders` : 'Holder'}</h3>
      {holders.length === 0 && <p class="none">{waiters.length > 0 ? 'Not told' : 'Nobody holds it.'}</p>}
      <ul class="holders">
        {holders.slice(0, SHOWN).map((holder, index) => (
          <Holder key={`${holder.clientId} ${holder.token} ${index}`} holder={holder} now={state.now} />
        ))}
      </ul>
      <More number={holders.length - SHOWN} />
      <h3>{waiters.length > 0 ? `Queue of ${count(waiters.length)}` : 'Queue'}</h3>
      {waiters.length === 0 && <p class="none">Nobody waits for it.</p>}
      <ol class="queue">
        {waiters.slice(0, SHOWN).map((waiter, index) => (
          <li key={`${waiter.clientId} ${waiter.since} ${index}`}>
            <a class="who" href={hashOf('clients', waiter.clientId)}>
              {who(waiter)}
            </a>
            {waiter.mode === 'shared' && <span class="mode">shared</span>}
            <span class="time">{duration(state.now - waiter.since)}</span>
          </li>
        ))}
      </ol>
      <More number={waiters.length - SHOWN} />
    </Detail>
  )
}

function More({ number }) {
  return number > 0 && <p class="hint">and {count(number)} more</p>
}

function Holder({ holder, now }) {
  if (holder.clientId === null) {
    return (
      <li>
        <p>lock-inc 1.2.0, which does not tell who it is</p>
        <Lease holder={holder} now={now} />
      </li>
    )
  }
  return (
    <li>
      <p>
        <a class="who" href={hashOf('clients', holder.clientId)}>
          {who(holder)}
        </a>
      </p>
      <Lease holder={holder} now={now} />
      <dl>
        <dt>held for</dt>
        <dd>
          {holder.since
            ? `${duration(now - holder.since)}, since ${moment(holder.since, now)}`
            : 'not told yet'}
        </dd>
        <dt>token</dt>
        <dd>{holder.token ?? 'not told yet'}</dd>
        <dt>client</dt>
        <dd>{holder.clientId}</dd>
        {holder.renewed && (
          <>
            <dt>renewed</dt>
            <dd>{duration(now - holder.renewed)} ago</dd>
          </>
        )}
      </dl>
    </li>
  )
}

/**
 * What the server has to say about the name, asked for with each listing: also about a lock that is not listed. Until it has
 * answered, and where the name cannot be asked for, the listing has to do.
 */
function useInspection(name, state) {
  const [found, setFound] = useState({})
  const [asked, setAsked] = useState(0)
  const isAsking = useRef(false)
  const isLive = state.link === 'live' && !mayBeCut(name)
  useEffect(() => {
    if (!isLive || isAsking.current) return
    isAsking.current = true
    inspect(name)
      .then(
        (answer) => setFound({ answer }),
        ({ message }) => setFound({ problem: message }),
      )
      .finally(() => {
        isAsking.current = false
      })
  }, [isLive, state.now, asked])
  return { ...found, askAgain: () => setAsked((count) => count + 1) }
}

/** Who holds it and who waits, as `inspect` has it, or else the listing; with what the listing has of leases. */
function seen(answer, listed = { holders: [], waiters: [] }) {
  if (answer === undefined) return listed
  const { found, now } = answer
  if (found === null) return { holders: [], waiters: [] }
  const holders = found.holders.map((said) => {
    const since = said.since && Date.parse(said.since)
    const known = listed.holders.find(
      ({ token, clientId }) => token === said.token && clientId === said.clientId,
    )
    const lease = Math.max(known?.lease ?? 0, wholeLease(said.end - now, since ? now - since : undefined))
    return { ...said, since, lease, renewed: known?.renewed }
  })
  const waiters = found.waiters.map((waiter) => ({ ...waiter, since: Date.parse(waiter.since) }))
  return { holders, waiters }
}
