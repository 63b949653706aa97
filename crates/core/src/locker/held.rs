//! The locks that a locker holds, shared between its calls and its own task.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout_at};

use super::{Locker, alarm::Alarm};
use crate::{Hold, LeaseChange, Moment, Nonce, holds::Holds, mutex::lock, store::Deadline};

/// The holds. Whatever of them becomes due rings the alarm.
pub(super) struct Held {
    /// std's Mutex: held for a few instructions, never over an await. Whoever has that of the waiters, too, has
    /// taken that first.
    holds: Mutex<Holds>,
    alarm: Arc<Alarm>,
    /// A [`RenewalPermit`] has been returned.
    returned: Notify,
}

impl Held {
    pub(super) fn new(alarm: Arc<Alarm>) -> Self {
        Self { holds: Mutex::default(), alarm, returned: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Holds> {
        lock(&self.holds)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Holds) -> T) -> T {
        let mut holds = self.lock();
        let result = change(&mut holds);
        let next = holds.next_due();
        drop(holds);
        if let Some(next) = next {
            self.alarm.ring_by(next);
        }
        result
    }

    /// As [`change`](Self::change), where nothing can become due earlier by it.
    pub(super) fn change_without_alarm<T>(&self, change: impl FnOnce(&mut Holds) -> T) -> T {
        change(&mut self.lock())
    }

    pub(super) fn has(&self, nonce: Nonce) -> bool {
        self.lock().get(nonce).is_some()
    }

    /// Whether there is anything on the resource with this hash.
    pub(super) fn has_any(&self, hash: &str) -> bool {
        self.lock().has_any(hash)
    }

    pub(super) fn get(&self, nonce: Nonce) -> Option<Hold> {
        self.lock().get(nonce).cloned()
    }

    pub(super) fn take(&self, nonce: Nonce) -> Option<Hold> {
        self.lock().take(nonce)
    }

    /// See [`Holds::take_to_give_up`].
    pub(super) fn take_to_give_up(&self, nonce: Nonce) -> Option<Hold> {
        self.lock().take_to_give_up(nonce)
    }

    /// Takes out what there is on the resource with this hash that is not relied on any more.
    pub(super) fn take_lost(&self, hash: &str) -> Vec<Hold> {
        self.lock().take_lost(hash)
    }

    /// For how long a lock can be relied on.
    pub(super) fn remaining(&self, nonce: Nonce, now: Moment) -> Duration {
        self.lock().get(nonce).map_or(Duration::ZERO, |hold| now.until(hold.lease.end()))
    }

    /// What has become of a hold since, if its lease has not ended.
    pub(super) fn running(&self, hold: &Hold, now: Moment) -> Option<Hold> {
        self.lock().current(hold).filter(|hold| now < hold.lease.end()).cloned()
    }

    /// The holds that are relied on.
    pub(super) fn relied_on(&self) -> Vec<Hold> {
        self.lock().relied_on().cloned().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn next_due(&self) -> Option<Moment> {
        self.lock().next_due()
    }
}

/// The right to ask about a hold. There is one at a time, so that answers come in the order of what was asked.
pub(super) struct RenewalPermit {
    locker: Arc<Locker>,
    nonce: Nonce,
    token: u64,
    /// How many times the hold has been extended, this time included.
    pub(super) extensions: u64,
}

impl RenewalPermit {
    /// `None` while somebody else has it.
    pub(super) fn begin(locker: &Arc<Locker>, hold: &Hold, asked: LeaseChange) -> Option<Self> {
        let extensions = locker.held.change_without_alarm(|holds| holds.begin_renewal(hold, asked))?;
        Some(Self { locker: locker.clone(), nonce: hold.nonce, token: hold.token, extensions })
    }

    /// Waits for it. `None` if the deadline passes before.
    pub(super) async fn wait(
        locker: &Arc<Locker>,
        hold: &Hold,
        asked: LeaseChange,
        deadline: Deadline,
    ) -> Option<Self> {
        loop {
            let returned = locker.held.returned.notified();
            tokio::pin!(returned);
            returned.as_mut().enable();
            let permit = Self::begin(locker, hold, asked);
            if permit.is_some() {
                return permit;
            }
            timeout_at(deadline.at, returned).await.ok()?;
        }
    }
}

/// Also where the call that has it is dropped.
impl Drop for RenewalPermit {
    fn drop(&mut self) {
        let Self { locker, nonce, token, .. } = self;
        let now = locker.now();
        locker.held.change_without_alarm(|holds| holds.end_renewal(*nonce, *token, now));
        locker.held.returned.notify_waiters();
    }
}
