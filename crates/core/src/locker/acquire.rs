//! Taking a lock without waiting, and the way of every grant into the holds.

use std::{future::pending, slice, sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Locker;
use crate::{
    Hold, Mode, Nonce, Resource, Terms,
    error::{Error, Result, Unavailable},
    lease::{Lease, Renewal, RenewalKind},
    options::{LockOptions, Wait},
    store::{Acquired, Attempt},
};

/// Before a lock is asked for again of which the grant came too late.
pub(super) const PAUSE_AFTER_LATE_GRANT: Duration = Duration::from_millis(10);

impl Locker {
    pub(super) fn attempt(&self, resource: Resource, options: &LockOptions) -> Attempt {
        let lease = options.max_hold.map_or(options.expire, |longest| options.expire.min(longest));
        let terms = Terms { lease, mode: options.mode };
        let (nonce, is_held_here) = (self.new_nonce(terms.mode), self.held.has_any(resource.hash()));
        let (waits, steals) = (options.wait != Wait::No, options.steal);
        Attempt { resource, nonce, terms, waits, steals, is_held_here }
    }

    pub(super) fn new_nonce(&self, mode: Mode) -> Nonce {
        self.nonces.next(mode, |nonce| self.waiting.lock().contains(nonce) || self.held.has(nonce))
    }

    /// Takes the resource, unless somebody else holds it, or `cancelled` comes first. For one that waits there is
    /// [`lock_or_wait`](Self::lock_or_wait).
    pub fn lock(
        self: Arc<Self>,
        resource: Resource,
        options: LockOptions,
        cancelled: Option<CancellationToken>,
    ) -> impl Future<Output = Result<Hold>> {
        let mut attempt = self.attempt(resource, &options);
        // Not an async function: that would keep room for its arguments twice.
        async move {
            if cancelled.as_ref().is_some_and(CancellationToken::is_cancelled) {
                return Err(Error::Cancelled);
            }
            let deadline = self.deadline();
            let error = loop {
                let answer = tokio::select! {
                    biased;
                    answer = self.store.acquire(&attempt, deadline) => answer,
                    () = cancellation(cancelled.as_ref()) => Err(Error::Cancelled),
                };
                match answer {
                    Ok(Acquired::Granted(grant)) => {
                        let lease = Lease { sent: grant.sent, length: attempt.terms.lease };
                        match self.enter(attempt.resource, attempt.nonce, grant.token, lease, &options, false)
                        {
                            Ok(hold) => {
                                let granted = slice::from_ref(&hold);
                                let is_held = match self.confirming(granted, deadline, cancelled.as_ref()) {
                                    None => true,
                                    Some(confirming) => confirming.await?,
                                };
                                if is_held {
                                    return Ok(hold);
                                }
                                // What is given back is so by the name of this attempt.
                                self.abandon(hold.nonce);
                                attempt.nonce = self.new_nonce(attempt.terms.mode);
                                attempt.resource = hold.resource;
                            }
                            Err(resource) => attempt.resource = resource,
                        }
                    }
                    Ok(Acquired::Contended { contention, .. }) => break Error::Locked(contention.into()),
                    Err(error) => break error,
                }
                if deadline.left().is_zero() {
                    break granted_too_late();
                }
                // The same attempt once more: what it may still hold gets a whole lease. Whoever has stolen it keeps it.
                attempt.steals = false;
                Box::pin(sleep(PAUSE_AFTER_LATE_GRANT.min(deadline.left()))).await;
            };
            // It may have been granted without its being known.
            if error.outcome_unknown() || matches!(error, Error::Cancelled) {
                self.cancel(attempt.resource, attempt.nonce, None, attempt.terms.lease);
            }
            Err(error)
        }
    }

    /// Enters a grant into the holds, unless its lease has ended or its loss is known already: then it returns the
    /// resource, and nothing is held. `handed_over`: the store may want a word about it.
    pub(super) fn enter(
        &self,
        resource: Resource,
        nonce: Nonce,
        token: u64,
        lease: Lease,
        options: &LockOptions,
        handed_over: bool,
    ) -> Result<Hold, Resource> {
        let now = self.now();
        if now >= lease.end() {
            return Err(resource);
        }
        let LockOptions { expire, renew, max_hold, max_blocked, observed, .. } = *options;
        let renewal = if renew {
            let until = max_hold.map(|time| now + time);
            Some(Renewal { lease: expire, until, max_blocked, kind: RenewalKind::Continual })
        } else if handed_over {
            let until = Some(lease.sent + expire);
            Some(Renewal { lease: expire, until, max_blocked: None, kind: RenewalKind::Completion })
        } else {
            None
        };
        let hold = Hold {
            resource,
            nonce,
            token,
            lease,
            gone_by: lease.gone_by(now),
            renewal,
            observed,
            extensions: 0,
            is_untouched: !handed_over,
        };
        // Who hands a lock over says to whom.
        let introduction = self.store.introduces_after().filter(|_| !handed_over).map(|after| now + after);
        let entered = self.held.change(|holds| holds.insert(hold.clone(), introduction));
        if entered { Ok(hold) } else { Err(hold.resource) }
    }
}

/// Each lease has ended before the grant was there.
pub(super) fn granted_too_late() -> Error {
    Error::Unavailable(Unavailable {
        message: "The lock was granted, but too late to be relied on: its lease (options.expire) was over"
            .into(),
        is_final: false,
        sent: true,
        cause: None,
    })
}

/// Waits until a call is given up, if that can happen.
pub(super) async fn cancellation(cancelled: Option<&CancellationToken>) {
    match cancelled {
        Some(cancelled) => cancelled.cancelled().await,
        None => pending().await,
    }
}
