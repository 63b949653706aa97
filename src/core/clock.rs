//! The clock that leases are measured with, and what is known of the store's.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A moment on a clock that only goes forward, and also while the machine sleeps: a laptop that wakes up must find
/// its leases over. `std::time::Instant` stands still meanwhile on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// On Linux `CLOCK_BOOTTIME`, see `clock_gettime(2)`.
    #[cfg(target_os = "linux")]
    pub fn now() -> Self {
        Self::of(libc::CLOCK_BOOTTIME)
    }

    /// On macOS `CLOCK_MONOTONIC` goes on during sleep.
    #[cfg(all(unix, not(target_os = "linux")))]
    pub fn now() -> Self {
        Self::of(libc::CLOCK_MONOTONIC)
    }

    /// On Windows the performance counter behind `Instant` goes on during sleep.
    #[cfg(not(unix))]
    pub fn now() -> Self {
        use std::{sync::LazyLock, time::Instant};
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Self(START.elapsed())
    }

    #[cfg(unix)]
    fn of(clock: libc::clockid_t) -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is valid for writing; a clock that every supported kernel has cannot fail.
        unsafe { libc::clock_gettime(clock, &raw mut time) };
        let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
        Self(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds))
    }

    /// The clock's own count.
    pub fn since_start(self) -> Duration {
        self.0
    }

    /// The next moment, from this one on, of those that are multiples of `step` from the start of the clock.
    #[must_use]
    pub fn round_up(self, step: Duration) -> Self {
        let Some(past) = self.0.as_nanos().checked_rem(step.as_nanos()).filter(|past| *past > 0) else {
            return self;
        };
        self + step.saturating_sub(Duration::from_nanos(u64::try_from(past).unwrap_or(0)))
    }

    /// Time that has passed since.
    pub fn until_now(self) -> Duration {
        self.until(Self::now())
    }

    /// Time until `later`; none if that has passed.
    pub fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
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
        let (sent, ms) = (Moment::now(), Duration::from_millis);
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
    fn goes_forward_and_measures_what_lies_between() {
        let start = Moment::now();
        let later = start + Duration::from_millis(5);
        assert_eq!(start.until(later), Duration::from_millis(5));
        assert_eq!(later.until(start), Duration::ZERO);
        while Moment::now() < later {
            std::thread::yield_now();
        }
    }
}
