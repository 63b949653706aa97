// What is published on the channels of node:diagnostics_channel.
import diagnostics from 'node:diagnostics_channel'
import type { ChannelMessages, Channels, Locker, LossReason, LostMessage } from 'lock-inc'

const { subscribe, unsubscribe } = diagnostics as Channels

const lost = ({ resourceId, token, reason, duration }: LostMessage): string => {
  const why: LossReason = reason
  return `${resourceId} (${token}) after ${duration.toFixed()} ms: ${why}`
}
subscribe('lock-inc:lost', lost)
export const wasSubscribed: boolean = unsubscribe('lock-inc:lost', lost)

// Each name has messages of its own.
subscribe('lock-inc:ask', ({ call, resourceIds, timeout }) => [call + timeout, resourceIds[0]?.length])
subscribe('lock-inc:wait', ({ call, holder, position }) => [call, holder?.host, position ?? 0])
subscribe('lock-inc:acquire', ({ call, lock, waited }) => [call, lock, waited === true])
subscribe('lock-inc:contended', ({ call, leaseLeft, numberOfLocks }) => call + leaseLeft + numberOfLocks)
subscribe('lock-inc:fail', ({ error, aborted }) => (aborted ? undefined : error instanceof Error))
subscribe('lock-inc:renew', ({ lock, token }) => lock + token)
subscribe('lock-inc:renew-failed', ({ error }) => [error.code, error.cause?.code])
subscribe('lock-inc:extend', ({ lease, extended, error }) => [lease, extended ?? error?.message])
subscribe('lock-inc:release', ({ held, error, duration }, name) => [held ?? error?.message, duration, name])
subscribe('lock-inc:disconnect', ({ error, locker }) => [error.cause?.code, locker.isLocked('x')])
subscribe('lock-inc:reconnect', ({ locker, prefix }): [Locker, string] => [locker, prefix])

// The type of one by its name; and without the helper.
type Refused = ChannelMessages['lock-inc:contended']
diagnostics.subscribe('lock-inc:contended', (message) => {
  const { prefix, resourceId } = message as Refused
  return prefix + resourceId
})

// @ts-expect-error: there is no such channel
subscribe('lock-inc:granted', () => {})

// @ts-expect-error: a renewal says nothing of that
subscribe('lock-inc:renew', ({ duration }) => duration)
