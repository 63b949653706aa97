//! How a lock is lost. The listener is told each loss once.

use super::{Event, Locker, LostReason};
use crate::Hold;

impl Locker {
    /// The store says that a lock is gone: tells so, if it is still relied on.
    pub(super) fn record_loss(&self, hash: &str, token: u64, reason: LostReason) {
        let lost = self.held.change_without_alarm(|holds| {
            let lost = holds.take_relied_on(hash, token);
            if lost.is_none() {
                holds.record_early_removal(token, self.now());
            }
            lost
        });
        if let Some(hold) = lost {
            self.tell_loss(hold, reason);
        }
    }

    /// The lease of a hold has ended. `unanswered`: while a renewal was under way.
    pub(super) fn tell_expiry(&self, hold: Hold, unanswered: bool) {
        let reason = if unanswered { LostReason::Connection } else { LostReason::Expired };
        self.tell_loss(hold, reason);
    }

    /// The store has granted a later lock to the same attempt: this one must have been taken away before.
    pub(super) fn tell_superseded(&self, hold: Hold) {
        self.tell_loss(hold, LostReason::Purged);
    }

    fn tell_loss(&self, hold: Hold, reason: LostReason) {
        self.listener.tell(Event::Lost(hold, reason));
    }
}
