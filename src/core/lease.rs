//! When a lease ends, and when to renew it.

use std::time::Duration;

use super::clock::Moment;

/// The time that a lock is held without another word, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When the command that set it had left, at the earliest.
    pub sent: Moment,
    pub length: Duration,
}

impl Lease {
    /// When it has ended for the client, which is before it ends for the server: counted from the sending, never
    /// from the reply, and shortened by a margin for clocks that run at different speeds: 1 % of the lease and 2 ms,
    /// as in the Redlock algorithm
    /// (<https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>).
    pub fn end(&self) -> Moment {
        self.sent + self.length.saturating_sub(self.margin())
    }

    /// When it has ended for the server too, if the reply to the command came at `received`: the margin of
    /// [`end`](Self::end) to the other side.
    pub fn over(&self, received: Moment) -> Moment {
        received + self.length + self.margin()
    }

    fn margin(&self) -> Duration {
        self.length / 100 + Duration::from_millis(2)
    }

    /// When a renewed lock is renewed: two thirds are left for trying.
    pub fn renewal(&self) -> Moment {
        self.sent + self.length / 3
    }
}

/// How a lock is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The length of each new lease.
    pub lease: Duration,
    /// No lease reaches beyond this (`maxHold`).
    pub until: Option<Moment>,
    /// Renewal stops while the JavaScript thread has not run for longer than this (`maxBlocked`).
    pub max_blocked: Option<Duration>,
}

/// A lease that is not worth asking for.
const SHORTEST: Duration = Duration::from_millis(5);

impl Renewal {
    /// The next lease to ask for; `None` when `until` is reached and the lock is to run out.
    pub fn next(&self, now: Moment) -> Option<Duration> {
        match self.until {
            None => Some(self.lease),
            Some(until) => Some(self.lease.min(now.until(until))).filter(|lease| *lease >= SHORTEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_ends_for_the_client_before_it_ends_for_the_server() {
        let sent = Moment::now();
        let lease = |length| Lease { sent, length };
        assert_eq!(lease(Duration::from_mins(1)).end(), sent + Duration::from_millis(59_398));
        assert_eq!(lease(Duration::from_millis(1)).end(), sent);
        assert_eq!(lease(Duration::from_mins(1)).over(sent), sent + Duration::from_millis(60_602));
        assert_eq!(lease(Duration::from_mins(1)).renewal(), sent + Duration::from_secs(20));
    }

    #[test]
    fn no_renewal_reaches_beyond_the_longest_hold() {
        let now = Moment::now();
        let lease = Duration::from_secs(10);
        let renewal = |left| Renewal { lease, until: Some(now + left), max_blocked: None };
        assert_eq!(renewal(Duration::from_mins(1)).next(now), Some(lease));
        assert_eq!(renewal(Duration::from_secs(4)).next(now), Some(Duration::from_secs(4)));
        assert_eq!(renewal(Duration::from_millis(1)).next(now), None);
        assert_eq!(renewal(Duration::ZERO).next(now + lease), None);
        assert_eq!(Renewal { lease, until: None, max_blocked: None }.next(now), Some(lease));
    }
}
