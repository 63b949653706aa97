//! When a lease ends, and when to renew it.

use std::time::Duration;

use crate::time::Moment;

/// The time that a lock is held without another word, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// When the command that set it had left, at the earliest.
    pub(crate) sent: Moment,
    pub(crate) length: Duration,
}

impl Lease {
    /// When it has ended for the client, which is before it ends for the server: counted from the sending, never
    /// from the reply, and shortened by a margin for clocks that run at different speeds: 1 % of the lease and 2 ms,
    /// as in the Redlock algorithm
    /// (<https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>).
    pub(crate) fn end(&self) -> Moment {
        self.sent + self.length.saturating_sub(self.margin())
    }

    /// By when it has ended for the store too, if the reply to the command came at `received`: the margin of
    /// [`end`](Self::end) to the other side.
    pub(crate) fn gone_by(&self, received: Moment) -> Moment {
        received + self.length + self.margin()
    }

    fn margin(&self) -> Duration {
        self.length / 100 + Duration::from_millis(2)
    }

    /// When a renewed lock is renewed: a third of the lease has passed then, or a little more, and nearly two thirds are
    /// left for trying. It is one of 64 moments in the time of a lease, so that the renewals of many locks come together
    /// and are sent in one piece.
    pub(crate) fn renew_at(&self) -> Moment {
        (self.sent + self.length / 3).round_up(self.length / 64)
    }
}

/// What a renewal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// Nothing: it only asks whether the lock is still held.
    Check,
    /// At least this lease from now on. It never shortens one, however late it arrives.
    AtLeast(Duration),
    /// Just this lease from now on.
    Exactly(Duration),
}

impl LeaseChange {
    pub fn lease(self) -> Option<Duration> {
        match self {
            Self::Check => None,
            Self::AtLeast(lease) | Self::Exactly(lease) => Some(lease),
        }
    }
}

/// How a lock is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// The length of each new lease.
    pub lease: Duration,
    /// No lease reaches beyond this (`maxHold`).
    pub until: Option<Moment>,
    /// Renewal stops while the JavaScript thread has not run for longer than this (`maxBlocked`).
    pub max_blocked: Option<Duration>,
    pub kind: RenewalKind,
}

/// How often a lock is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RenewalKind {
    /// Until it is unlocked or lost.
    Continual,
    /// Once: whoever has waited gets a short lease first, and then the whole one that was asked for. If it has that
    /// already, the store may take the client for one that hangs unless it hears from it.
    Completion,
}

/// A gain that is not worth a command.
const SHORTEST: Duration = Duration::from_millis(5);

impl Renewal {
    /// The next lease to ask for; `None` when the one that runs reaches `until` and is to run out.
    pub(crate) fn next(&self, now: Moment, running: Lease) -> Option<Duration> {
        let Some(until) = self.until else { return Some(self.lease) };
        let next = self.lease.min(now.until(until));
        (now + next > running.sent + running.length + SHORTEST).then_some(next)
    }

    /// What is left of the whole lease, where the one that runs is the short one of a lock that was waited for.
    pub(crate) fn rest(&self, now: Moment, running: Lease) -> Option<Duration> {
        match self.kind {
            RenewalKind::Completion => self.next(now, running),
            RenewalKind::Continual if running.length < self.lease => {
                let rest = self.cut(now, now.until(running.sent + self.lease));
                (now + rest > running.sent + running.length + SHORTEST).then_some(rest)
            }
            RenewalKind::Continual => None,
        }
    }

    /// A lease that somebody has asked for, cut where the longest hold ends.
    pub(crate) fn cut(&self, now: Moment, lease: Duration) -> Duration {
        let until = self.until.filter(|_| self.kind == RenewalKind::Continual);
        until.map_or(lease, |until| lease.min(now.until(until)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_ends_for_the_client_before_it_ends_for_the_server() {
        let sent = Moment::at(Duration::from_secs(9));
        let lease = |length| Lease { sent, length };
        assert_eq!(lease(Duration::from_mins(1)).end(), sent + Duration::from_millis(59_398));
        assert_eq!(lease(Duration::from_millis(1)).end(), sent);
        assert_eq!(lease(Duration::from_mins(1)).gone_by(sent), sent + Duration::from_millis(60_602));
        let (third, step) = (Duration::from_secs(20), Duration::from_mins(1) / 64);
        let renewal = lease(Duration::from_mins(1)).renew_at();
        assert!(renewal >= sent + third && renewal < sent + third + step);
        let soon = Lease { sent: sent + step / 2, length: Duration::from_mins(1) }.renew_at();
        assert!(soon == renewal || soon == renewal + step);
    }

    #[test]
    fn no_renewal_reaches_beyond_the_longest_hold_and_none_is_made_for_nothing() {
        let now = Moment::at(Duration::from_secs(9));
        let seconds = Duration::from_secs;
        let running = Lease { sent: now - seconds(4), length: seconds(10) };
        let endless =
            Renewal { lease: seconds(10), until: None, max_blocked: None, kind: RenewalKind::Continual };
        let renewal = |left| Renewal { until: Some(now + left), ..endless };
        assert_eq!(renewal(seconds(60)).next(now, running), Some(seconds(10)));
        assert_eq!(renewal(seconds(8)).next(now, running), Some(seconds(8)));
        assert_eq!(renewal(seconds(6)).next(now, running), None);
        assert_eq!(renewal(seconds(0)).next(now, running), None);
        assert_eq!(endless.next(now, running), Some(seconds(10)));
        assert_eq!(renewal(seconds(8)).cut(now, seconds(60)), seconds(8));
        assert_eq!(endless.cut(now, seconds(60)), seconds(60));
        let rest = Renewal { kind: RenewalKind::Completion, ..renewal(seconds(8)) };
        assert_eq!(rest.next(now, running), Some(seconds(8)));
        assert_eq!(rest.cut(now, seconds(60)), seconds(60));
        // Of one that is renewed: of 10 s from the grant on 4 have passed, or it has them already, or may not.
        let short = Lease { length: seconds(5), ..running };
        assert_eq!(endless.rest(now, short), Some(seconds(6)));
        assert_eq!(renewal(seconds(3)).rest(now, short), Some(seconds(3)));
        assert_eq!(renewal(seconds(1)).rest(now, short), None);
        assert_eq!(endless.rest(now, running), None);
    }
}
