//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with jitter, so that a fleet does not come back in one wave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first delay; each further one doubles.
    pub first: Duration,
    /// No delay is longer than this.
    pub max: Duration,
}

impl Backoff {
    /// The delay before retry number `attempt` (from 1). `unit` is a random number in `0.0..1.0`: the delay lies
    /// between half of the full one and the full one ("equal jitter").
    pub fn delay(&self, attempt: u32, unit: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(0.5 + unit.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_delay_is_never_longer_than_the_maximum_nor_shorter_than_half_of_it_in_the_end(
            attempt in 0u32.., unit in 0.0..1.0f64, first in 1u64..1000, max in 1u64..100_000,
        ) {
            let backoff = Backoff { first: Duration::from_millis(first), max: Duration::from_millis(max) };
            let delay = backoff.delay(attempt, unit);
            prop_assert!(delay <= backoff.max);
            prop_assert!(delay >= backoff.first.min(backoff.max) / 2);
            if attempt > 20 {
                prop_assert!(delay >= backoff.max / 2);
            }
        }
    }
}
