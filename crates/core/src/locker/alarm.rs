//! Wakes the locker's own task when it has something to do.

use std::{future::pending, sync::Mutex, time::Duration};

use tokio::{sync::Notify, time::sleep};

use crate::{Clock, Moment, mutex::lock};

/// A runtime's timers stand still while the machine sleeps. So nothing is waited for longer than this at a time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// To these multiples: the tasks of many lockers are woken together.
const TOGETHER: Duration = Duration::from_millis(100);

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
    pub(super) async fn wait(&self, clock: &dyn Clock, next_due: impl FnOnce() -> Option<Moment>) {
        // Whatever is entered from here on rings.
        self.set_for(None);
        let now = clock.now();
        let due = next_due().map(|due| due.min((now + LONGEST_SLEEP).round_up(TOGETHER)));
        self.set_for(due);
        let due = async {
            match due {
                Some(due) => sleep(now.until(due)).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = self.earlier.notified() => {}
        }
    }

    fn set_for(&self, when: Option<Moment>) {
        *lock(&self.set_for) = when;
    }
}
