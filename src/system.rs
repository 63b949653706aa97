//! What the crates need of the machine: its clock and its randomness.

use lock_inc_core::{Clock, Moment, Random};

/// The machine's clock, which goes on while the machine sleeps: a laptop that wakes up must find its leases over.
/// `std::time::Instant` stands still meanwhile on Linux.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    /// On Linux `CLOCK_BOOTTIME`, see `clock_gettime(2)`.
    #[cfg(target_os = "linux")]
    fn now(&self) -> Moment {
        read(libc::CLOCK_BOOTTIME)
    }

    /// On macOS `CLOCK_MONOTONIC` goes on during sleep.
    #[cfg(all(unix, not(target_os = "linux")))]
    fn now(&self) -> Moment {
        read(libc::CLOCK_MONOTONIC)
    }

    /// On Windows the performance counter behind `Instant` goes on during sleep.
    #[cfg(not(unix))]
    fn now(&self) -> Moment {
        use std::{sync::LazyLock, time::Instant};
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Moment::at(START.elapsed())
    }
}

#[cfg(unix)]
fn read(clock: libc::clockid_t) -> Moment {
    use std::time::Duration;

    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing; a clock that every supported kernel has cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Moment::at(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds))
}

/// Randomness from the operating system.
pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    /// Without entropy the middle serves as well.
    fn unit(&self) -> f64 {
        getrandom::u32().map_or(0.5, |number| f64::from(number) / (f64::from(u32::MAX) + 1.0))
    }
}

/// 128 random bits.
pub(crate) fn random_bits() -> Result<u128, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes))
}
