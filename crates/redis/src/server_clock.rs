//! What the tokens say of the server's clock. A token is counted, and lifted to the time of the server where it has fallen
//! behind that: so a register that was lost, or a server that has missed the last writes, gives no token twice.

use std::{sync::Mutex, time::Duration};

use lock_inc_core::{Moment, lock};

/// So far a token that is only counted may be behind the clock.
const SLACK: Duration = Duration::from_millis(100);

/// So often a client that asks for few tokens finds out whether others ask for more.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// How a token was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// From the register alone.
    Counted,
    /// It is not behind the server's clock.
    Lifted,
}

/// Below this every token is: it has to be lifted.
const NONE: u64 = 1 << 53;

/// The server's clock on one connection, as far as it is known: it is never ahead of the real one, unless that was set
/// back.
#[derive(Debug, Default)]
pub(crate) struct ServerClock(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The number of the connection; none has 0.
    connection: u32,
    /// How far it is ahead of our own clock.
    ahead: Duration,
    /// The newest token.
    last: u64,
    /// Others use the register so often that it is near the clock also where this client has not used it for a while.
    is_lifted_by_others: bool,
    /// When to find out whether they do so by now.
    try_again: Option<Moment>,
}

impl ServerClock {
    /// Below which a token is to be lifted that is asked for now, over this connection: in microseconds, as tokens are.
    pub(crate) fn floor(&self, connection: u32, now: Moment) -> u64 {
        let known = lock(&self.0);
        if known.connection != connection || connection == 0 {
            return NONE;
        }
        micros((known.ahead + now.since_start()).saturating_sub(SLACK))
    }

    /// Whether the next token that is only counted will not have to be lifted, as far as can be told. Who asks for one tells
    /// what has [come](Self::on_counted) of it.
    pub(crate) fn is_near(&self, connection: u32, now: Moment) -> bool {
        let floor = self.floor(connection, now);
        if floor == NONE {
            return false;
        }
        let mut known = lock(&self.0);
        let may_try = known.is_lifted_by_others || known.try_again.is_none_or(|moment| moment <= now);
        if known.last < floor && may_try {
            known.try_again = Some(now + TRY_AGAIN);
        }
        known.last >= floor || may_try
    }

    /// A token that is only counted has come, for which [`floor`](Self::floor) was this.
    pub(crate) fn on_counted(&self, token: u64, floor: u64) {
        let mut known = lock(&self.0);
        // By ourselves it was not.
        if known.last < floor {
            known.is_lifted_by_others = token >= floor;
        }
    }

    /// A token has come over this connection, in answer to a command that left at `sent`. `now` says when.
    pub(crate) fn on_token(
        &self,
        connection: u32,
        token: u64,
        told: Told,
        sent: Moment,
        now: impl FnOnce() -> Moment,
    ) {
        let time = Duration::from_micros(token);
        let mut known = lock(&self.0);
        if connection < known.connection {
            // There is another one by now.
            return;
        }
        if known.connection != connection {
            *known = Known { connection, ..Known::default() };
        }
        known.last = known.last.max(token);
        // Most are counted, and say less than is known.
        if time.saturating_sub(sent.since_start()) > known.ahead {
            known.ahead = known.ahead.max(time.saturating_sub(now().since_start()));
        }
        if told == Told::Lifted {
            // The clock was no further when it left. So what a register has said that is ahead of the clock is mended.
            known.ahead = known.ahead.min(time.saturating_sub(sent.since_start()));
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::at(Duration::from_millis(ms))
    }

    #[test]
    fn a_token_is_lifted_at_first_on_each_connection_and_where_it_is_behind_the_clock() {
        let clock = ServerClock::default();
        assert_eq!(clock.floor(0, at(10)), NONE);
        assert_eq!(clock.floor(1, at(10)), NONE);
        clock.on_token(1, 5_000_000, Told::Lifted, at(10), || at(12));
        assert_eq!(clock.floor(1, at(12)), 4_900_000);
        // Counted: behind the clock by then.
        clock.on_token(1, 5_000_001, Told::Counted, at(62), || at(64));
        assert_eq!(clock.floor(1, at(1012)), 5_900_000);
        // Known better by an answer that came faster.
        clock.on_token(1, 6_001_000, Told::Lifted, at(1012), || at(1012));
        assert_eq!(clock.floor(1, at(1012)), 5_901_000);
        // The register was ahead of the clock, and is not any more.
        clock.on_token(1, 9_000_000, Told::Lifted, at(1012), || at(1012));
        assert_eq!(clock.floor(1, at(1012)), 8_900_000);
        clock.on_token(1, 7_001_000, Told::Lifted, at(2012), || at(2013));
        assert_eq!(clock.floor(1, at(2013)), 6_902_000);
        assert_eq!(clock.floor(2, at(2014)), NONE);
        clock.on_token(2, 3_000_000, Told::Lifted, at(2014), || at(2014));
        assert_eq!(clock.floor(2, at(2014)), 2_900_000);
        // An answer of the connection before.
        clock.on_token(1, 9_000_000, Told::Lifted, at(2014), || at(2014));
        assert_eq!(clock.floor(2, at(2014)), 2_900_000);
    }

    #[test]
    fn a_token_is_only_counted_where_this_client_or_others_ask_for_many() {
        let clock = ServerClock::default();
        assert!(!clock.is_near(1, at(10)), "nothing is known of the clock");
        clock.on_token(1, 5_000_000, Told::Lifted, at(10), || at(12));
        assert!(clock.is_near(1, at(112)));
        // A guess, and it was wrong; so there is none for a while.
        assert!(clock.is_near(1, at(113)));
        clock.on_counted(5_000_001, clock.floor(1, at(113)));
        assert!(!clock.is_near(1, at(114)));
        assert!(clock.is_near(1, at(10_113)));
        // Others ask for many.
        clock.on_counted(15_100_000, clock.floor(1, at(10_113)));
        assert!(clock.is_near(1, at(10_114)) && clock.is_near(1, at(10_115)));
        clock.on_counted(5_000_002, clock.floor(1, at(10_115)));
        assert!(!clock.is_near(1, at(10_116)));
        assert!(!clock.is_near(2, at(20_000)), "another server, perhaps");
    }
}
