//! Taking several resources, all or none.
//!
//! One step of the store takes all of them, where all are to be had. Where one is not, and the call waits, they are taken one by
//! one in an order that all lockers have, so that no two calls wait for each other; what is there is renewed meanwhile. So they are
//! where the store has no step for all of them.

use std::{mem::take, slice, sync::Arc};

use futures_util::future::{OptionFuture, join_all};
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    Locker,
    acquire::{PAUSE_AFTER_LATE_GRANT, granted_too_late},
    waiting::ENOUGH_TO_ASK,
};
use crate::{
    Contention, Hold, Moment, Resource,
    error::{Error, Limit, Result},
    lease::{Lease, Renewal, RenewalKind},
    options::{LockOptions, Wait},
    store::{AllAcquired, Attempt, Deadline},
};

/// After so many times that something was lost before all was there, a call is told so, even if it waits for ever.
const MOST_LOSSES: u8 = 10;

/// Holds that are given back, unless they are all that was asked for.
struct Collected {
    locker: Arc<Locker>,
    holds: Vec<Hold>,
}

impl Collected {
    /// Gives them back now. Whoever is refused is to find them free, if that takes no longer than until the deadline.
    async fn give_back(mut self, deadline: Deadline) {
        let holds = take(&mut self.holds);
        let given_back = join_all(holds.iter().filter_map(|hold| self.locker.give_back(hold.nonce)));
        // It goes on in any case.
        let _ = timeout_at(deadline.at, given_back).await;
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        for hold in &self.holds {
            self.locker.abandon(hold.nonce);
        }
    }
}

/// Attempts that may have been granted without its being known. They are cancelled.
struct Uncertain<'a> {
    locker: &'a Arc<Locker>,
    attempts: &'a [Attempt],
}

impl Drop for Uncertain<'_> {
    fn drop(&mut self) {
        for Attempt { resource, nonce, terms, .. } in self.attempts {
            self.locker.cancel(resource.clone(), *nonce, None, terms.lease);
        }
    }
}

impl Locker {
    /// Takes all these resources, which are different ones, or none. While somebody else holds one of them it waits for as long
    /// as the options allow, until `cancelled`. An error that somebody is in the way says of which resource.
    pub fn lock_all(
        self: Arc<Self>,
        resources: Vec<Resource>,
        options: LockOptions,
        cancelled: Option<CancellationToken>,
    ) -> impl Future<Output = Result<Vec<Hold>>> {
        let mut cancelled = cancelled.map(|cancelled| Box::pin(cancelled.cancelled_owned()));
        async move {
            let cancelled = OptionFuture::from(cancelled.as_mut());
            tokio::select! {
                biased;
                Some(()) = cancelled => Err(Error::Cancelled),
                result = Box::pin(self.take_all(&resources, options)) => result,
            }
        }
    }

    async fn take_all(self: &Arc<Self>, resources: &[Resource], options: LockOptions) -> Result<Vec<Hold>> {
        let patience = match options.wait {
            Wait::AtMost(time) => Some(Deadline::after(Limit { time, option: "options.timeout" })),
            Wait::No | Wait::Forever => None,
        };
        let is_patient = || patience.is_none_or(|patience| !patience.left().is_zero());
        for _ in 0..MOST_LOSSES {
            let deadline = self.deadline().earlier(patience);
            let taken = if self.store.takes_together(resources) {
                match self.try_all(resources, &options, deadline).await {
                    Err(error) if options.wait != Wait::No && !error.is_final() && is_patient() => {
                        self.take_in_order(resources, &options, patience).await?
                    }
                    tried => tried?,
                }
            } else {
                self.take_in_order(resources, &options, patience).await?
            };
            if let Some(holds) = taken {
                return Ok(holds);
            }
            // Something was lost before all was there.
            if !is_patient() {
                break;
            }
            // What is given back leaves before what is asked for anew.
            sleep(PAUSE_AFTER_LATE_GRANT).await;
        }
        Err(granted_too_late())
    }

    /// All in one step. `None` if some were lost before they counted.
    async fn try_all(
        self: &Arc<Self>,
        resources: &[Resource],
        options: &LockOptions,
        deadline: Deadline,
    ) -> Result<Option<Vec<Hold>>> {
        let at_once = LockOptions { wait: Wait::No, ..*options };
        let attempts: Vec<_> =
            resources.iter().map(|resource| self.attempt(resource.clone(), &at_once)).collect();
        let mut uncertain = Uncertain { locker: self, attempts: &attempts };
        let mut was_granted = false;
        loop {
            match self.store.acquire_all(&attempts, deadline).await {
                Ok(AllAcquired::Granted { tokens, sent }) => {
                    if let Some(holds) = self.enter_all(&attempts, &tokens, sent, options) {
                        uncertain.attempts = &[];
                        let are_held = match self.confirming(&holds, deadline, None) {
                            None => true,
                            Some(confirming) => confirming.await?,
                        };
                        if are_held {
                            return Ok(Some(holds));
                        }
                        drop(Collected { locker: self.clone(), holds });
                        return Ok(None);
                    }
                    was_granted = true;
                }
                Ok(AllAcquired::Contended { index, contention, resent }) => {
                    if !resent && !was_granted {
                        uncertain.attempts = &[];
                    }
                    let resource = resources.get(index).cloned();
                    return Err(Error::Locked(Box::new(Contention { resource, ..contention })));
                }
                Err(error) => {
                    if !error.outcome_unknown() && !was_granted {
                        uncertain.attempts = &[];
                    }
                    return Err(error);
                }
            }
            if deadline.left().is_zero() {
                return Err(granted_too_late());
            }
            // The same attempts once more: what they may still hold gets a whole lease.
            sleep(PAUSE_AFTER_LATE_GRANT.min(deadline.left())).await;
        }
    }

    /// Enters all these grants, or none of them where one has come too late.
    fn enter_all(
        self: &Arc<Self>,
        attempts: &[Attempt],
        tokens: &[u64],
        sent: Moment,
        options: &LockOptions,
    ) -> Option<Vec<Hold>> {
        let mut holds = Vec::with_capacity(attempts.len());
        for (Attempt { resource, nonce, terms, .. }, token) in attempts.iter().zip(tokens) {
            let lease = Lease { sent, length: terms.lease };
            let entered = self.enter(resource.clone(), *nonce, *token, lease, options, false);
            let Ok(hold) = entered else {
                for Hold { nonce, .. } in holds {
                    self.held.take(nonce);
                }
                return None;
            };
            holds.push(hold);
        }
        Some(holds)
    }

    /// One after the other. `None` if some were lost before all were there.
    async fn take_in_order(
        self: &Arc<Self>,
        resources: &[Resource],
        options: &LockOptions,
        patience: Option<Deadline>,
    ) -> Result<Option<Vec<Hold>>> {
        let mut collected = Collected { locker: self.clone(), holds: Vec::new() };
        let mut in_order: Vec<_> = resources.iter().collect();
        in_order.sort_by(|one, other| one.hash().cmp(other.hash()));
        for resource in in_order {
            // Where the time is over, there is enough to find out who is in the way.
            let left = |patience: Deadline| Wait::AtMost(patience.left().max(ENOUGH_TO_ASK));
            let wait = patience.map_or(options.wait, left);
            let kept = LockOptions { wait, renew: true, max_hold: None, observed: false, ..*options };
            if wait == Wait::No {
                let deadline = self.deadline();
                match self.try_all(slice::from_ref(resource), &kept, deadline).await {
                    Ok(Some(holds)) => collected.holds.extend(holds),
                    Ok(None) => return Ok(None),
                    Err(error) => {
                        if matches!(error, Error::Locked(_)) {
                            collected.give_back(deadline).await;
                        }
                        return Err(error);
                    }
                }
                continue;
            }
            let hold = self.clone().wait_for(resource.clone(), kept, None, true).await;
            collected.holds.push(hold.map_err(|error| about(error, resource))?);
        }
        if !self.keep_as_asked(&collected.holds, options).await? {
            return Ok(None);
        }
        let call = patience.unwrap_or_else(|| self.deadline());
        if let Some(confirming) = self.confirming(&collected.holds, call, None)
            && !confirming.await?
        {
            return Ok(None);
        }
        let holds = take(&mut collected.holds);
        let of = |resource: &Resource| holds.iter().find(|hold| hold.resource == *resource).cloned();
        Ok(Some(resources.iter().filter_map(of).collect()))
    }

    /// All are there: each gets the lease that was asked for, from now on, and is renewed or not. `false` if one was lost.
    async fn keep_as_asked(self: &Arc<Self>, holds: &[Hold], options: &LockOptions) -> Result<bool> {
        let &LockOptions { expire, renew, max_hold, max_blocked, observed, .. } = options;
        let until = max_hold.map(|time| self.now() + time);
        let kind = RenewalKind::Continual;
        let renewal = renew.then_some(Renewal { lease: expire, until, max_blocked, kind });
        self.held.change(|all| {
            for Hold { nonce, .. } in holds {
                all.keep(*nonce, renewal, observed);
            }
        });
        let lease = max_hold.map_or(expire, |longest| expire.min(longest));
        let extended = holds.iter().map(|hold| self.clone().extend(hold.nonce, lease));
        let extended: Result<Vec<_>> = join_all(extended).await.into_iter().collect();
        let are_extended = extended?.into_iter().all(|is_extended| is_extended);
        Ok(are_extended && self.are_running(holds))
    }
}

/// The same error, which names the resource that it is about.
fn about(error: Error, resource: &Resource) -> Error {
    match error {
        Error::Locked(mut contention) => {
            contention.resource = Some(resource.clone());
            Error::Locked(contention)
        }
        other => other,
    }
}
