//! What an attempt asks for: its lease, and whom the lock is to be shared with.

use std::{num::NonZeroU32, time::Duration};

/// What an attempt asks for. It is the same as long as the attempt lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub lease: Duration,
    pub mode: Mode,
}

/// Who may hold a resource at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nobody else.
    Exclusive,
    /// Others that share it. `limit`: how many may hold it, this one included; each attempt is judged by its own.
    Shared { limit: Option<NonZeroU32> },
}

impl Mode {
    pub fn is_shared(self) -> bool {
        self != Self::Exclusive
    }

    /// 0 is none.
    pub fn limit(self) -> u32 {
        match self {
            Self::Exclusive | Self::Shared { limit: None } => 0,
            Self::Shared { limit: Some(limit) } => limit.get(),
        }
    }

    /// A shared one with a limit, of which 0 is none.
    pub fn shared(limit: u32) -> Self {
        Self::Shared { limit: NonZeroU32::new(limit) }
    }

    /// Whether an attempt with this mode may have a resource that so many hold with `others`.
    pub fn fits_beside(self, others: Self, count: usize) -> bool {
        let Self::Shared { limit } = self else { return count == 0 };
        let has_room = limit.is_none_or(|limit| count < limit.get() as usize);
        count == 0 || others.is_shared() && has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusive_lock_fits_beside_nobody_and_a_shared_one_beside_shared_ones_up_to_its_limit() {
        let (shared, two) = (Mode::shared(0), Mode::shared(2));
        for mode in [Mode::Exclusive, shared, two] {
            assert!(mode.fits_beside(Mode::Exclusive, 0));
            assert!(!mode.fits_beside(Mode::Exclusive, 1));
        }
        assert!(!Mode::Exclusive.fits_beside(shared, 1));
        assert!(shared.fits_beside(two, 1000));
        assert!(two.fits_beside(shared, 1));
        assert!(!two.fits_beside(shared, 2));
    }
}
