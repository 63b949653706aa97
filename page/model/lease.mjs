/** What leases are set to, in s: nobody is told how long one was at first. */
const ROUND = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400]

/**
 * How long the whole lease of a holder is, as far as can be told, in ms: at least what is left of it, a round number, and no
 * longer than it has been held and may be held still.
 */
export function wholeLease(left, heldFor) {
  const round = ROUND.find((seconds) => seconds * 1000 >= left) ?? left / 1000
  return Math.max(left, Math.min(round * 1000, heldFor === undefined ? Infinity : heldFor + left))
}

/** A holder's entry, with what was seen of it before: how long its lease is, and when it was renewed. */
export function withLease(entry, before, now) {
  const left = entry.end - now
  if (before === undefined) {
    const heldFor = entry.since && Math.max(0, now - entry.since)
    return { ...entry, lease: wholeLease(left, heldFor), renewed: undefined }
  }
  const isRenewed = entry.end > before.end + 300
  return {
    ...entry,
    lease: Math.max(left, before.lease),
    renewed: isRenewed ? now : before.renewed,
  }
}
