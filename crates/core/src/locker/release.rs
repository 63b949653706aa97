//! What is given up: by an unlock, or in the background where nobody asks for it any more.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::Locker;
use crate::{
    Backoff, Hold, Nonce, Resource,
    error::Result,
    store::{Release, Released},
};

/// Between two tries of a background cancel.
const CANCEL_BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), max: Duration::from_secs(2) };

impl Locker {
    /// Gives up the lock with this token, or the newest one on the resource. `false` if this locker holds none, or
    /// if the store says that it had expired or been taken away.
    pub async fn unlock(self: Arc<Self>, resource: Resource, token: Option<u64>) -> Result<bool> {
        // Whoever has stood still past the end of its lease is told so first.
        let now = self.now();
        self.renew_due(now);
        // From here on it is not renewed any more.
        let hold = self.held.take(resource.hash(), token);
        let hold = hold.map(|hold| (hold.nonce, hold.lease, hold.gone_by, hold.is_untouched));
        let Some((nonce, lease, gone_by, is_untouched)) = hold else { return Ok(false) };
        // What has expired is given up all the same: the store may still keep it, if only for a moment.
        let expired = now >= lease.end();
        let release = Release { resource: &resource, nonce, queued: None, is_untouched };
        match self.store.release(release, self.deadline()).await {
            Ok(Released::Yes(next)) => {
                if let Some((hand_over, since)) = next {
                    self.on_hand_over(&resource, hand_over, since);
                }
                Ok(!expired)
            }
            // While the lease runs nobody but ourselves can have ended it, a purge aside.
            Ok(Released::NotAnyMore) => Ok(self.now() < lease.end()),
            Ok(Released::No) => Ok(false),
            Err(error) => {
                self.cancel(resource, nonce, None, self.now().until(gone_by));
                Err(error)
            }
        }
    }

    /// Gives back a lock that nobody will unlock, in the background. Must be called on the runtime.
    pub fn abandon(self: &Arc<Self>, hold: Hold) {
        // What was asked for since may last longer than what the caller knows of.
        let known = self.held.take(hold.resource.hash(), Some(hold.token));
        let gone_by = known.map_or(hold.gone_by, |known| known.gone_by);
        self.cancel(hold.resource, hold.nonce, None, self.now().until(gone_by));
    }

    /// Releases by nonce in the background until the store has confirmed it, or until the lock, if it was ever
    /// granted, has expired by itself. `queued`: the lease that was asked for, if the call may be in the queue.
    pub(super) fn cancel(
        self: &Arc<Self>,
        resource: Resource,
        nonce: Nonce,
        queued: Option<Duration>,
        lease: Duration,
    ) {
        let locker = self.clone();
        let expired = self.now() + lease;
        self.shutdown.spawn_cancel(async move {
            for attempt in 1.. {
                // An error is no news to anybody: the caller has been told, and the next try is under way.
                let release = Release { resource: &resource, nonce, queued, is_untouched: false };
                let answer = locker.store.release(release, locker.deadline()).await;
                if let Ok(Released::Yes(Some((hand_over, since)))) = answer {
                    locker.on_hand_over(&resource, hand_over, since);
                }
                if answer.is_ok() || locker.shutdown.has_begun() || locker.now() >= expired {
                    return;
                }
                tokio::select! {
                    () = locker.shutdown.begun() => {}
                    () = sleep(CANCEL_BACKOFF.delay(attempt, locker.random.unit())) => {}
                }
            }
        });
    }
}
