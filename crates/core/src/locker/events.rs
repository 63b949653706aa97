//! What the store tells a locker.

use std::sync::{Arc, Weak};

use super::{Event, Locker};
use crate::{
    error::Error,
    store::{Scope, StoreEvent, StoreEvents},
};

/// How the store reaches a locker. It keeps none alive.
pub(super) struct StoreHearing(pub(super) Weak<Locker>);

impl StoreEvents for StoreHearing {
    fn hear(&self, event: StoreEvent) {
        let Some(locker) = self.0.upgrade() else { return };
        match event {
            StoreEvent::Missed(scope) => locker.on_missed(&scope),
            StoreEvent::Disconnected(why) => {
                locker.listener.tell(Event::Disconnected(Error::Unavailable(why)));
            }
            StoreEvent::NumberTaken => locker.nonces.redraw(locker.random.unit().to_bits()),
            StoreEvent::Removed { nonce, token, stolen, .. } => locker.on_removed(nonce, token, stolen),
            StoreEvent::Granted { hash, hand_over, since } => locker.on_granted(&hash, hand_over, since),
        }
    }
}

impl Locker {
    /// Events may have been missed: asks about every hold, and for all who wait, at once.
    fn on_missed(self: &Arc<Self>, scope: &Scope) {
        self.listener.tell(Event::Reconnected);
        self.waiting.change(|waiters| waiters.poll_all(scope, self.now()));
        self.recheck_holds(scope);
    }
}
