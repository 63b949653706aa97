//! How a lock is lost. The listener is told each loss once.

use std::sync::Arc;

use super::{Event, Locker, LostReason};
use crate::{Hold, Nonce, holds::Removed, store::Ownership};

impl Locker {
    /// The store says that nobody or somebody else has a lock: tells so, if it is still relied on.
    pub(super) fn record_loss(&self, hold: &Hold, ownership: Ownership) {
        let lost = self.held.change_without_alarm(|holds| {
            let told = holds.doubt(hold);
            Some((holds.take_relied_on(hold.nonce, hold.token)?, told))
        });
        let Some((hold, told)) = lost else { return };
        let seen = if ownership == Ownership::Gone { LostReason::Purged } else { LostReason::Stolen };
        self.tell_loss(hold, told.unwrap_or(seen));
    }

    /// Somebody has removed the lock of an attempt, whose grant may still be on the way to its hold.
    /// `stolen`: to have it himself.
    pub(super) fn on_removed(self: &Arc<Self>, nonce: Nonce, token: Option<u64>, stolen: bool) {
        let reason = if stolen { LostReason::Stolen } else { LostReason::Purged };
        let removed =
            self.held.change_without_alarm(|holds| holds.on_removed(nonce, token, reason, self.now()));
        match removed {
            Removed::Lost(hold) => self.tell_loss(hold, reason),
            Removed::Doubtful(hold) => self.recheck(hold),
            Removed::Early => {}
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
        self.store.forget(hold.nonce);
        self.listener.tell(Event::Lost(hold, reason));
    }
}
