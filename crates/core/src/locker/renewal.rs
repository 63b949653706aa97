//! What is asked about locks between their grant and their unlock: renewal and extension.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::{Event, Locker, held::RenewalPermit};
use crate::{
    Hold, LeaseChange, Moment, Nonce,
    error::{Error, Limit, Result},
    holds::Due,
    lease::{Lease, RenewalKind},
    store::{Deadline, Ownership, Renew, Renewed, Scope},
};

/// Between two renewals of which the first came to nothing.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

impl Locker {
    /// A new lease from now on for a lock that can still be relied on; `false` if it cannot.
    pub async fn extend(self: Arc<Self>, nonce: Nonce, lease: Duration) -> Result<bool> {
        let deadline = self.deadline();
        let asked = LeaseChange::Exactly(lease);
        let Some(hold) = self.held.get(nonce) else { return Ok(false) };
        let permit = RenewalPermit::wait(&self, &hold, asked, deadline).await;
        let now = self.now();
        let Some(hold) = self.held.running(&hold, now) else { return Ok(false) };
        let Hold { ref resource, token, extensions, .. } = hold;
        let Some(permit) = permit else {
            // Nothing is sent any more: the store says why the time was not enough.
            let (change, lease_left) = (LeaseChange::Check, Duration::ZERO);
            let look = Renew { resource, nonce, token, change, lease_left, extensions };
            return self.store.renew(look, deadline).await.map(|_| false);
        };
        let length = hold.renewal.map_or(lease, |renewal| renewal.cut(now, lease));
        self.anticipate(&hold, length, self.limit.time);
        let (change, extensions) = (LeaseChange::Exactly(length), permit.extensions);
        let renew = Renew { resource, nonce, token, change, lease_left: length, extensions };
        match self.store.renew(renew, deadline).await {
            Ok(renewed) => Ok(self.on_renewed(&hold, renewed, Some(length))),
            Err(error) => {
                let now = self.now();
                self.held.change(|holds| {
                    if !error.outcome_unknown() {
                        // Nothing has changed.
                        holds.restore_lease(&hold, now);
                    }
                    if hold.renewal.is_some() {
                        holds.put_off(&hold, now);
                    }
                });
                Err(error)
            }
        }
    }

    /// Renews what is due, and tells what has ended.
    pub(super) fn renew_due(self: &Arc<Self>, now: Moment) {
        for due in self.held.change_without_alarm(|holds| holds.take_due(now)) {
            match due {
                Due::Renew(hold) => {
                    if let Some(change) = self.plan_renewal(&hold) {
                        self.ask(hold, change);
                    }
                }
                // Whoever closes leaves its locks as they are.
                Due::Introduce(_) if self.shutdown.has_begun() => {}
                Due::Introduce(hold) => self.ask(hold, LeaseChange::Check),
                Due::Expired { hold, unanswered } => self.tell_expiry(hold, unanswered),
            }
        }
    }

    /// Asks about every hold on one of these resources.
    pub(super) fn recheck_holds(self: &Arc<Self>, scope: &Scope) {
        for hold in self.held.relied_on().into_iter().filter(|hold| scope.has(&hold.resource)) {
            self.recheck(hold);
        }
    }

    pub(super) fn recheck(self: &Arc<Self>, hold: Hold) {
        let change = self.plan_renewal(&hold).unwrap_or(LeaseChange::Check);
        self.ask(hold, change);
    }

    /// What is to be asked for a hold, unless it is meant to run out, as all are when the locker is closed. Of one that
    /// is not renewed only whether it is still held: where that was asked after a reconnect and was refused.
    fn plan_renewal(&self, hold: &Hold) -> Option<LeaseChange> {
        let Some(renewal) = hold.renewal else { return Some(LeaseChange::Check) };
        if self.shutdown.has_begun() {
            return None;
        }
        let now = self.now();
        if renewal.max_blocked.is_some_and(|limit| self.listener.nudge() > limit) {
            // It has been asked for a sign of life, and may give one before the lease is over.
            let pause = (now.until(hold.lease.end()) / 8).max(SHORTEST_PAUSE);
            self.held.change(|holds| holds.put_off(hold, now + pause));
            return None;
        }
        let next = renewal.next(now, hold.lease).map(LeaseChange::AtLeast);
        // A store that hears nothing after a hand-over passes over the others that wait here.
        let gives_sign = || {
            let others_wait = self.waiting.lock().wait_for(hold.resource.hash());
            (renewal.kind == RenewalKind::Completion && others_wait).then_some(LeaseChange::Check)
        };
        next.or_else(gives_sign)
    }

    /// Asks for a new lease, or only whether the lock is still held, for as long as it can be relied on. While something
    /// else is being asked, which goes on over the next connection by itself, a new lease has to wait.
    fn ask(self: &Arc<Self>, hold: Hold, change: LeaseChange) {
        let now = self.now();
        let time = now.until(hold.lease.end());
        let Some(permit) = RenewalPermit::begin(self, &hold, change) else {
            if change.lease().is_some() {
                let again = now + (time / 8).max(SHORTEST_PAUSE);
                self.held.change(|holds| {
                    holds.set_unanswered(&hold, true);
                    holds.put_off(&hold, again);
                });
            }
            return;
        };
        if let Some(length) = change.lease() {
            self.held.change_without_alarm(|holds| holds.set_unanswered(&hold, true));
            self.anticipate(&hold, length, time);
        }
        let (locker, extensions) = (self.clone(), permit.extensions);
        tokio::spawn(async move {
            let _permit = permit;
            let deadline = Deadline::after(Limit { time, option: "options.expire" });
            let Hold { ref resource, nonce, token, .. } = hold;
            let renew = Renew { resource, nonce, token, change, lease_left: time, extensions };
            match locker.store.renew(renew, deadline).await {
                Ok(renewed) => {
                    let relied_on = locker.on_renewed(&hold, renewed, change.lease());
                    if let Some(length) = change.lease()
                        && relied_on
                        && is_told(&hold)
                    {
                        let lease = Lease { sent: renewed.sent, length };
                        locker.listener.tell(Event::Renewed(Hold { lease, ..hold }));
                    }
                }
                Err(error) => locker.on_renewal_failed(&hold, &error),
            }
        });
    }

    /// The store may accept the next one: one failure is not a loss.
    fn on_renewal_failed(&self, hold: &Hold, error: &Error) {
        let now = self.now();
        if is_told(hold) {
            self.listener.tell(Event::RenewalFailed(hold.clone(), error.clone()));
        }
        self.held.change(|holds| {
            if matches!(error, Error::Refused(_) | Error::Closed) {
                holds.set_unanswered(hold, false);
            }
            // A closed locker renews nothing any more: the lease ends by itself.
            if !matches!(error, Error::Closed) {
                let left = holds.current(hold).map(|hold| now.until(hold.lease.end()));
                let pause = (left.unwrap_or_default() / 4).max(SHORTEST_PAUSE);
                holds.put_off(hold, now + pause);
            }
        });
    }

    /// Before the locker is closed: what has only its first, short lease gets the rest of it.
    pub(super) async fn complete_leases(self: &Arc<Self>) {
        let completed = self.held.relied_on().into_iter().map(|hold| self.complete_lease(hold));
        join_all(completed).await;
    }

    async fn complete_lease(self: &Arc<Self>, hold: Hold) {
        let Some(length) = hold.renewal.and_then(|renewal| renewal.rest(self.now(), hold.lease)) else {
            return;
        };
        self.anticipate(&hold, length, self.limit.time);
        let Hold { ref resource, nonce, token, extensions, .. } = hold;
        let change = LeaseChange::AtLeast(length);
        let renew = Renew { resource, nonce, token, change, lease_left: length, extensions };
        // Without an answer the lock has its short lease, which is what is relied on.
        if let Ok(renewed) = self.store.renew(renew, Deadline::after(self.limit)).await {
            self.on_renewed(&hold, renewed, Some(length));
        }
    }

    /// Before a new lease is asked for, of which an answer may come within `time`.
    fn anticipate(&self, hold: &Hold, length: Duration, time: Duration) {
        let now = self.now();
        let lease = Lease { sent: now, length };
        let gone_by = lease.gone_by(now + time);
        self.held.change(|holds| holds.anticipate(hold, lease, gone_by));
    }

    /// The store has answered, where a lease was asked for with that. Whether the hold is relied on from now on.
    fn on_renewed(self: &Arc<Self>, hold: &Hold, renewed: Renewed, length: Option<Duration>) -> bool {
        let Renewed { ownership, sent } = renewed;
        match (ownership, length) {
            (Ownership::Held, Some(length)) => self.enter_lease(hold, Lease { sent, length }),
            (Ownership::Held, None) => true,
            (Ownership::Gone | Ownership::Taken, _) => {
                self.record_loss(hold, ownership);
                false
            }
        }
    }

    /// Enters a lease that the store has given. `false` if it came too late: then the loss has been told, or will be,
    /// and what the store keeps is given back.
    fn enter_lease(self: &Arc<Self>, hold: &Hold, lease: Lease) -> bool {
        let now = self.now();
        let gone_by = lease.gone_by(now);
        let in_time =
            now < lease.end() && self.held.change(|holds| holds.on_renewed(hold, lease, gone_by, now));
        if !in_time && self.held.change_without_alarm(|holds| holds.current(hold).is_some()) {
            self.cancel(hold.resource.clone(), hold.nonce, None, now.until(gone_by));
        }
        in_time
    }
}

/// Whether the listener hears of a hold's renewals. The rest of a lease that was short at first is none.
fn is_told(hold: &Hold) -> bool {
    hold.observed && hold.renewal.is_some_and(|renewal| renewal.kind == RenewalKind::Continual)
}
