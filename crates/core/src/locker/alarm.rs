//! Wakes the locker's own task when it has something to do.

use std::sync::Mutex;

use tokio::sync::Notify;

use crate::{Moment, Timer, mutex::lock};

/// Wakes one task when something is due, or is found to be due earlier than that.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// When it goes off by itself, if ever.
    set_for: Mutex<Option<Moment>>,
    earlier: Notify,
}

impl Alarm {
    /// Something is due at `when`: the task is to be awake by then.
    pub(super) fn ring_by(&self, when: Moment) {
        let set_for = *lock(&self.set_for);
        if set_for.is_none_or(|set_for| when < set_for) {
            self.ring();
        }
    }

    pub(super) fn ring(&self) {
        self.earlier.notify_one();
    }

    /// Sleeps until what is due next, as `next_due` says, or until it rings.
    pub(super) async fn wait(&self, timer: &Timer, next_due: impl FnOnce() -> Option<Moment>) {
        // Whatever is entered from here on rings.
        self.set_for(None);
        let due = next_due();
        self.set_for(due);
        tokio::select! {
            () = timer.sleep_until(due) => {}
            () = self.earlier.notified() => {}
        }
    }

    fn set_for(&self, when: Option<Moment>) {
        *lock(&self.set_for) = when;
    }
}
