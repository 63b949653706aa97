//! The clock that leases are measured with, and what is known of the store's.
//!
//! Which clock that is, is decided outside: the addon has the machine's, and tests have one that they move.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A moment on a clock that only goes forward, and also while the machine sleeps: a laptop that wakes up must find
/// its leases over. `std::time::Instant` stands still meanwhile on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// So long after the start of the clock.
    pub fn at(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// The clock's own count.
    pub fn since_start(self) -> Duration {
        self.0
    }

    /// The next moment, from this one on, of those that are multiples of `step` from the start of the clock.
    #[must_use]
    pub(crate) fn round_up(self, step: Duration) -> Self {
        let Some(past) = self.0.as_nanos().checked_rem(step.as_nanos()).filter(|past| *past > 0) else {
            return self;
        };
        self + step.saturating_sub(Duration::from_nanos(u64::try_from(past).unwrap_or(0)))
    }

    /// Time until `later`; none if that has passed.
    pub fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

/// A clock. It only goes forward, and also while the machine sleeps.
pub trait Clock: Send + Sync {
    fn now(&self) -> Moment;
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

/// What the store's clock said in the answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreClock {
    /// When that command left: no later than the store's clock was read.
    pub sent: Moment,
    pub time: Duration,
}

impl StoreClock {
    /// The moment at which the store's clock said `time`; or an earlier one, never a later one. That takes a store whose
    /// clock has not been set meanwhile; if it has been put forward, `now` is the limit.
    #[must_use]
    pub fn moment(&self, time: Duration, now: Moment) -> Moment {
        let later = time.saturating_sub(self.time);
        let earlier = self.time.saturating_sub(time);
        (self.sent + later - earlier).min(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_store_is_never_taken_for_later_than_it_was() {
        let (sent, ms) = (Moment::at(Duration::from_secs(9)), Duration::from_millis);
        let clock = StoreClock { sent, time: ms(1000) };
        let now = sent + ms(500);
        assert_eq!(clock.moment(ms(1200), now), sent + ms(200));
        assert_eq!(clock.moment(ms(900), now), sent - ms(100));
        assert_eq!(clock.moment(ms(9000), now), now);
    }

    #[test]
    fn is_rounded_up_to_a_multiple_and_not_at_all_without_a_step() {
        let (moment, step) = (Moment(Duration::from_millis(1234)), Duration::from_millis(100));
        assert_eq!(moment.round_up(step), Moment(Duration::from_millis(1300)));
        assert_eq!(moment.round_up(step).round_up(step), Moment(Duration::from_millis(1300)));
        assert_eq!(moment.round_up(Duration::ZERO), moment);
    }

    #[test]
    fn measures_what_lies_between() {
        let start = Moment::at(Duration::from_secs(9));
        let later = start + Duration::from_millis(5);
        assert_eq!(start.until(later), Duration::from_millis(5));
        assert_eq!(later.until(start), Duration::ZERO);
    }
}
