//! A flag that somebody waits for.

use std::{
    fmt,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
};

use atomic_waker::AtomicWaker;

use crate::sync::AtomicBool;

/// Something may be ready since it was last asked for. Any thread announces it, and one at a time waits for it.
pub struct Readiness {
    ready: AtomicBool,
    waiting: AtomicWaker,
}

impl Readiness {
    pub fn new(ready: bool) -> Self {
        Self { ready: AtomicBool::new(ready), waiting: AtomicWaker::new() }
    }

    /// Something may be ready. Returns whom to wake, if somebody waits for that: many may be woken together later.
    #[must_use]
    pub fn announce(&self) -> Option<Waker> {
        self.set();
        self.waiting.take()
    }

    /// The one who has taken it puts it back, as there may be more.
    pub fn restore(&self) {
        self.set();
    }

    /// Takes it, or waits for it. Of those who wait, the last is woken.
    pub fn poll_take(&self, context: &Context<'_>) -> Poll<()> {
        if !self.take() {
            self.waiting.register(context.waker());
            // It may have come just before.
            if !self.take() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Not a store: whoever takes this announcement must see what came before the last one, too.
    fn set(&self) {
        self.ready.swap(true, Ordering::AcqRel);
    }

    fn take(&self) -> bool {
        self.ready.swap(false, Ordering::AcqRel)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("ready", &self.ready).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;

    use super::*;

    #[test]
    fn is_taken_once_and_tells_whom_to_wake() {
        let context = Context::from_waker(noop_waker_ref());
        let readiness = Readiness::new(true);
        assert!(readiness.poll_take(&context).is_ready());
        assert!(readiness.poll_take(&context).is_pending());
        assert!(readiness.announce().is_some_and(|waker| waker.will_wake(noop_waker_ref())));
        assert!(readiness.announce().is_none());
        assert!(readiness.poll_take(&context).is_ready());
        assert!(readiness.poll_take(&context).is_pending());
        readiness.restore();
        assert!(readiness.poll_take(&context).is_ready());
    }
}
