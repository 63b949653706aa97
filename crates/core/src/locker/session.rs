//! What is known of the connection to the store.

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Event, Locker};
use crate::{
    Moment, StoreClock,
    mutex::lock,
    store::{StoreEvent, StoreEvents},
};

#[derive(Debug, Default)]
pub(super) struct Session {
    /// Whether there has been a connection.
    connected: AtomicBool,
    /// Whether the store tells events.
    subscribed: AtomicBool,
    /// None before a store has told its time on the present connection.
    clock: Mutex<Option<StoreClock>>,
}

impl Session {
    /// There is a connection. Whether there has been another one before.
    fn on_connected(&self, subscribed: bool) -> bool {
        self.subscribed.store(subscribed, Ordering::Relaxed);
        self.set_clock(None);
        self.connected.swap(true, Ordering::Relaxed)
    }

    /// Whether the store tells events.
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed.load(Ordering::Relaxed)
    }

    pub(super) fn on_clock(&self, clock: StoreClock) {
        self.set_clock(Some(clock));
    }

    fn set_clock(&self, clock: Option<StoreClock>) {
        *lock(&self.clock) = clock;
    }

    /// When the store's clock said `time`, if that can be told.
    pub(super) fn date(&self, time: Duration, now: Moment) -> Option<Moment> {
        let clock = *lock(&self.clock);
        clock.map(|clock| clock.moment(time, now))
    }
}

/// How the store reaches a locker. It keeps none alive.
pub(super) struct StoreHearing(pub(super) Weak<Locker>);

impl StoreEvents for StoreHearing {
    fn hear(&self, event: StoreEvent) {
        let Some(locker) = self.0.upgrade() else { return };
        match event {
            StoreEvent::Connected { subscribed } => locker.on_connected(subscribed),
            StoreEvent::NumberTaken => locker.nonces.redraw(locker.random.unit().to_bits()),
            StoreEvent::Removed { nonce, token, stolen, .. } => locker.on_removed(nonce, token, stolen),
            StoreEvent::Granted { hash, hand_over, at } => locker.on_granted(&hash, hand_over, at),
        }
    }
}

impl Locker {
    /// There is a connection. If it is not the first one, events may have been missed: asks about every hold, and for
    /// all who wait, at once.
    fn on_connected(self: &Arc<Self>, subscribed: bool) {
        if self.session.on_connected(subscribed) {
            self.listener.tell(Event::Reconnected);
            self.waiting.change(|waiters| waiters.poll_all(self.now()));
            self.recheck_holds();
        }
    }
}
