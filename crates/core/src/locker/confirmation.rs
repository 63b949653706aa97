//! Grants that count only when replicas have them.
//!
//! Until then a lock is a hold like any other, which is renewed if that was asked for. Whichever way it has come, its
//! caller gets it when enough replicas have it, or else it is given back. Renewals and extensions are not confirmed.

use std::{pin::Pin, sync::Arc};

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Locker, acquire::cancellation, waiting::ENOUGH_TO_ASK};
use crate::{
    Hold,
    error::{Cause, Error, Result, Unreplicated},
    store::{Confirmation, Deadline, Replication},
};

/// Locks that are given back, unless they are confirmed.
struct Unconfirmed<'a> {
    locker: &'a Arc<Locker>,
    holds: &'a [Hold],
}

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        for hold in self.holds {
            self.locker.abandon(hold.nonce);
        }
    }
}

/// The wait for replicas. Boxed, as few lockers have it.
type Confirming<'a> = Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>>;

impl Locker {
    /// Waits until enough replicas have these locks, which were granted together, and gives them back if that fails or is
    /// given up. `None`: there is nothing to wait for. `call`: until when the call may take.
    ///
    /// `false` if one was lost meanwhile: what to do about that is left to the caller.
    pub(super) fn confirming<'a>(
        self: &'a Arc<Self>,
        holds: &'a [Hold],
        call: Deadline,
        cancelled: Option<&'a CancellationToken>,
    ) -> Option<Confirming<'a>> {
        let replication = self.store.replication()?;
        Some(Box::pin(async move {
            let mut unconfirmed = Unconfirmed { locker: self, holds };
            let confirmed = tokio::select! {
                biased;
                () = cancellation(cancelled) => return Err(Error::Cancelled),
                confirmed = self.confirm(holds, replication, call) => confirmed,
            };
            unconfirmed.holds = &[];
            if confirmed.is_err() {
                // Whoever hears of it finds the locks free, unless that takes too long.
                let given_back = join_all(holds.iter().filter_map(|hold| self.give_back(hold.nonce)));
                let _ = timeout(ENOUGH_TO_ASK, given_back).await;
            }
            confirmed
        }))
    }

    /// Whether nothing of this has been lost meanwhile.
    pub(super) fn are_running(&self, holds: &[Hold]) -> bool {
        let now = self.now();
        holds.iter().all(|hold| self.held.running(hold, now).is_some())
    }

    async fn confirm(
        &self,
        holds: &[Hold],
        Replication { replicas: wanted, limit }: Replication,
        call: Deadline,
    ) -> Result<bool> {
        // Where the time of the call is over, there is enough to find out.
        let call = Deadline { at: call.at.max(Instant::now() + ENOUGH_TO_ASK), ..call };
        let deadline = Deadline::after(limit).earlier(Some(call));
        let Confirmation { replicas: confirmed, lost, cause } = self.store.confirm(holds, deadline).await?;
        let now = self.now();
        let was_taken_away = |hold: &Hold| !self.held.has(hold.nonce) && now < hold.lease.end();
        if lost.is_none() && confirmed >= wanted || holds.iter().any(was_taken_away) {
            return Ok(self.are_running(holds));
        }
        let Some(hold) = holds.get(lost.unwrap_or_default()) else { return Ok(true) };
        let is_gone = || Cause::new("ERR_LOCK_LOST", "the primary has lost the lock");
        Err(Error::Unreplicated(Box::new(Unreplicated {
            resource: hold.resource.clone(),
            wanted,
            confirmed: if lost.is_some() { 0 } else { confirmed },
            limit: deadline.limit,
            cause: cause.or_else(|| lost.map(|_| is_gone())),
        })))
    }
}
