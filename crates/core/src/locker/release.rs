//! What is given up: by an unlock, or in the background where nobody asks for it any more.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{task::JoinHandle, time::sleep};

use super::Locker;
use crate::{
    Backoff, Hold, Nonce, Resource, Terms,
    error::Result,
    store::{Release, Released},
};

/// Between two tries of a background cancel.
const CANCEL_BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), max: Duration::from_secs(2) };

/// A lock that is being given up.
struct Leaving<'a> {
    locker: &'a Locker,
    nonce: Nonce,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.locker.held.change_without_alarm(|holds| holds.on_left(self.nonce));
    }
}

impl Locker {
    /// Gives up a lock. `false` if it is not held any more, or if the store says that it had expired or been taken away.
    pub async fn unlock(self: Arc<Self>, nonce: Nonce) -> Result<bool> {
        // Whoever has stood still past the end of its lease is told so first.
        self.renew_due(self.now());
        // From here on it is not renewed any more.
        let Some(hold) = self.held.take_to_give_up(nonce) else { return Ok(false) };
        let _leaving = (!hold.is_untouched).then(|| Leaving { locker: &self, nonce });
        self.clone().give_up(hold).await
    }

    /// Gives up what the store may still keep of locks on the resource that were lost.
    pub async fn unlock_lost(self: Arc<Self>, resource: Resource) -> Result<()> {
        self.renew_due(self.now());
        let lost = self.held.take_lost(resource.hash());
        let given_up = join_all(lost.into_iter().map(|hold| self.clone().give_up(hold))).await;
        given_up.into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// What has been taken out of the holds goes back to the store.
    fn give_up(self: Arc<Self>, hold: Hold) -> impl Future<Output = Result<bool>> {
        let Hold { resource, nonce, lease, gone_by, is_untouched, .. } = hold;
        // Not an async function: that would keep room for all of the hold.
        async move {
            // What has expired is given up all the same: the store may still keep it, if only for a moment.
            let expired = self.now() >= lease.end();
            let release = Release { resource: &resource, nonce, queued: None, is_untouched };
            match self.store.release(release, self.deadline()).await {
                Ok(Released::Yes(next)) => {
                    for (hand_over, since) in next {
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
    }

    /// Gives back a lock that nobody will unlock, in the background, unless it is known to be gone. Must be called on the
    /// runtime.
    pub fn abandon(self: &Arc<Self>, nonce: Nonce) {
        drop(self.give_back(nonce));
    }

    /// The same. What is returned ends when it is done.
    pub(super) fn give_back(self: &Arc<Self>, nonce: Nonce) -> Option<JoinHandle<()>> {
        let Hold { resource, gone_by, .. } = self.held.take(nonce)?;
        Some(self.cancel(resource, nonce, None, self.now().until(gone_by)))
    }

    /// Releases by nonce in the background until the store has confirmed it, or until the lock, if it was ever
    /// granted, has expired by itself. `queued`: what was asked for, if the call may be in the queue.
    pub(super) fn cancel(
        self: &Arc<Self>,
        resource: Resource,
        nonce: Nonce,
        queued: Option<Terms>,
        lease: Duration,
    ) -> JoinHandle<()> {
        let locker = self.clone();
        let expired = self.now() + lease;
        self.shutdown.spawn_cancel(async move {
            for attempt in 1.. {
                // An error is no news to anybody: the caller has been told, and the next try is under way.
                let release = Release { resource: &resource, nonce, queued, is_untouched: false };
                let answer = locker.store.release(release, locker.deadline()).await;
                let is_answered = answer.is_ok();
                if let Ok(Released::Yes(next)) = answer {
                    for (hand_over, since) in next {
                        locker.on_hand_over(&resource, hand_over, since);
                    }
                }
                if is_answered || locker.shutdown.has_begun() || locker.now() >= expired {
                    return;
                }
                tokio::select! {
                    () = locker.shutdown.begun() => {}
                    () = sleep(CANCEL_BACKOFF.delay(attempt, locker.random.unit())) => {}
                }
            }
        })
    }
}
