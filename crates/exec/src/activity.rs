//! Calls, and a sleeper who wants to know of the next.

use std::{
    fmt,
    future::poll_fn,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;

use crate::sync::AtomicUsize;

/// The sleeper is to be woken by the next call. A bit of the count, so that a call that is counted sees it, or else is
/// seen.
const ASLEEP: usize = 1;
const ONE: usize = 2;

/// Counts the calls of any number of threads. One at a time sleeps until the next begins. While nobody does, a call costs
/// an addition.
pub struct Activity {
    /// In units of [`ONE`], with [`ASLEEP`].
    begun: AtomicUsize,
    sleeper: AtomicWaker,
}

impl Activity {
    pub fn new() -> Self {
        Self { begun: AtomicUsize::new(0), sleeper: AtomicWaker::new() }
    }

    /// Counts a call, and wakes the sleeper.
    pub fn begin(&self) {
        if self.begun.fetch_add(ONE, Ordering::AcqRel) & ASLEEP != 0 {
            self.sleeper.wake();
        }
    }

    /// How many calls have begun.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::Acquire) / ONE
    }

    /// Sleeps until another number of calls have begun than `seen`. Only one at a time may.
    pub async fn begun_since(&self, seen: usize) {
        poll_fn(|context| self.poll_begun_since(seen, context)).await;
    }

    /// The same as a poll.
    pub fn poll_begun_since(&self, seen: usize, context: &Context<'_>) -> Poll<()> {
        let awake = seen.wrapping_mul(ONE);
        // Before the bit is set: the call that sees the bit finds the waker.
        self.sleeper.register(context.waker());
        match self.begun.compare_exchange(awake, awake | ASLEEP, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Poll::Pending,
            Err(now) if now == awake | ASLEEP => Poll::Pending,
            Err(_) => {
                self.begun.fetch_and(!ASLEEP, Ordering::AcqRel);
                Poll::Ready(())
            }
        }
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activity").field("begun", &self.begun()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::Arc,
        task::{Wake, Waker},
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    #[test]
    fn calls_are_counted_also_while_somebody_sleeps() {
        let activity = Activity::new();
        activity.begin();
        assert_eq!(activity.begun(), 1);
        assert!(activity.poll_begun_since(1, &Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(activity.begun(), 1);
        activity.begin();
        assert_eq!(activity.begun(), 2);
    }

    #[test]
    fn the_sleeper_is_woken_by_the_next_call_and_by_none_while_awake() {
        let activity = Activity::new();
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let mut context = Context::from_waker(&waker);
        activity.begin();
        let mut sleep = pin!(activity.begun_since(1));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert_eq!(activity.begun(), 1);

        activity.begin();
        assert_eq!(woken.0.load(Ordering::Acquire), 1);
        assert!(sleep.as_mut().poll(&mut context).is_ready());
        activity.begin();
        assert_eq!(woken.0.load(Ordering::Acquire), 1);
        // Whoever has missed a call does not sleep.
        assert!(pin!(activity.begun_since(2)).poll(&mut context).is_ready());
    }
}
