import { duration } from '../model/format.mjs'

/** What is left of a lease, as a bar that runs down and in words. */
export function Lease({ holder, now }) {
  if (holder === undefined) return <span class="none">–</span>
  const left = Math.max(0, holder.end - now)
  // It gets there in the second until the next event.
  const share = Math.max(0, Math.min(1, (left - 1000) / holder.lease))
  const kind = left < 3000 || share < 0.15 ? 'short' : ''
  const isRenewed = holder.renewed !== undefined
  return (
    <span class={`lease ${kind}`} title={isRenewed ? `renewed ${duration(now - holder.renewed)} ago` : ''}>
      <span class="bar" aria-hidden="true">
        <span class="left" style={{ transform: `scaleX(${share.toFixed(3)})` }} />
      </span>
      <span class="words">{duration(left)}</span>
    </span>
  )
}
