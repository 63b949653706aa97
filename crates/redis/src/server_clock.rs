//! What the tokens say of the server's clock. A token is counted, and lifted to the time of the server where it has fallen
//! behind that: so a register that was lost, or a server that has missed the last writes, gives no token twice.

use std::{sync::Mutex, time::Duration};

use lock_inc_core::{Moment, lock};

/// So far a token that is only counted may be behind the clock.
const SLACK: Duration = Duration::from_millis(100);

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

    /// Whether the next token that is only counted will not have to be lifted, as far as can be told.
    pub(crate) fn is_near(&self, connection: u32, now: Moment) -> bool {
        let last = lock(&self.0).last;
        last >= self.floor(connection, now)
    }

    /// A token has come over this connection, in answer to a command that left at `sent`. `now` says when.
    pub(crate) fn on_token(&self, connection: u32, token: u64, sent: Moment, now: impl FnOnce() -> Moment) {
        let time = Duration::from_micros(token);
        let mut known = lock(&self.0);
        if known.connection != connection {
            *known = Known { connection, ..Known::default() };
        }
        known.last = known.last.max(token);
        // Most are counted, and say less than is known.
        if time.saturating_sub(sent.since_start()) > known.ahead {
            known.ahead = known.ahead.max(time.saturating_sub(now().since_start()));
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
        clock.on_token(1, 5_000_000, at(10), || at(12));
        assert_eq!(clock.floor(1, at(12)), 4_900_000);
        assert!(clock.is_near(1, at(112)) && !clock.is_near(1, at(113)) && !clock.is_near(2, at(12)));
        // Counted: behind the clock by then.
        clock.on_token(1, 5_000_001, at(62), || at(64));
        assert_eq!(clock.floor(1, at(1012)), 5_900_000);
        // Known better by an answer that came faster.
        clock.on_token(1, 6_001_000, at(1012), || at(1012));
        assert_eq!(clock.floor(1, at(1012)), 5_901_000);
        assert_eq!(clock.floor(2, at(1013)), NONE);
        clock.on_token(2, 3_000_000, at(1013), || at(1013));
        assert_eq!(clock.floor(2, at(1014)), 2_901_000);
    }
}
