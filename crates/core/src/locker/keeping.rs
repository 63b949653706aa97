//! What happens to locks between their grant and their unlock: renewal, loss, and what the server says of them.

use std::{
    future::pending,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::time::sleep;

use super::{Event, Locker, LostReason};
use crate::{
    Due, Hold, Lease, Moment, Renewing,
    error::{Error, Limit},
    store::{Deadline, Ownership, Renew, Renewed},
};

/// A runtime's timers stand still while the machine sleeps. So nothing is waited for longer than this at a time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Between two renewals of which the server has refused the first.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

impl Locker {
    /// Looks after the holds, until the locker is closed and nothing is held or nobody listens.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            let due = self.set_alarm();
            let due = async {
                match due {
                    Some(due) => sleep(self.now().until(due)).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.sooner.notified() => {}
            }
            self.poll_due();
            self.look_after_due(self.now());
            // Whoever closes wakes this loop.
            if self.closed.initialized() && (self.holds().is_empty() || !self.listener.tell(Event::Alive)) {
                self.listener.tell(Event::Ended);
                return;
            }
        }
    }

    /// There is a connection. If it is not the first one, events may have been missed.
    pub(super) fn on_connected(self: &Arc<Self>, subscribed: bool) {
        self.subscribed.store(subscribed, Ordering::Relaxed);
        self.set_store_clock(None);
        if self.connected.swap(true, Ordering::Relaxed) {
            self.listener.tell(Event::Reconnected);
            self.recheck();
        }
    }

    /// Renews what is due, and tells what has ended.
    pub(super) fn look_after_due(self: &Arc<Self>, now: Moment) {
        let due = self.holds().due(now);
        for due in due {
            match due {
                Due::Renew(hold) => self.look_after(hold),
                Due::Expired { hold, unanswered: false } => {
                    self.listener.tell(Event::Lost(hold, LostReason::Expired));
                }
                Due::Expired { hold, unanswered: true } => {
                    self.listener.tell(Event::Lost(hold, LostReason::Connection));
                }
            }
        }
    }

    /// When to wake up next. Whatever becomes due before that says so.
    fn set_alarm(&self) -> Option<Moment> {
        let set = |alarm| *self.wakes.lock().unwrap_or_else(PoisonError::into_inner) = alarm;
        // Whatever is entered while this looks says so.
        set(None);
        // One after the other: whoever has both locks takes that of the waiters first.
        let of_holds = self.holds().next_due();
        let of_waiters = self.waiters().next_due();
        let next = of_holds.into_iter().chain(of_waiters).min();
        let alarm = next.map(|next| next.min(self.now() + LONGEST_SLEEP));
        set(alarm);
        alarm
    }

    /// After a connection was lost, news may have been missed: asks about every hold, and for all who wait, at once.
    fn recheck(self: &Arc<Self>) {
        self.change_waiters(|waiters| waiters.poll_all(self.now()));
        let holds: Vec<_> = self.holds().relied_on().cloned().collect();
        for hold in holds {
            self.look_after(hold);
        }
    }

    /// Renews a hold in the background, unless it is meant to run out, as all are when the locker is closed. Of one that
    /// is not renewed it only asks whether it is still held: after a reconnect, and again if that was refused.
    fn look_after(self: &Arc<Self>, hold: Hold) {
        let Some(renewal) = hold.renewal else { return self.ask(hold, Renewing::Look) };
        if self.closing.is_cancelled() {
            return;
        }
        let now = self.now();
        if renewal.max_blocked.is_some_and(|limit| self.listener.silent_for() > limit) {
            // It has been asked for a sign of life, and may give one before the lease is over.
            let pause = now.until(hold.lease.end()) / 8;
            self.change_holds(|holds| {
                holds.put_off(hold.resource.hash(), hold.token, now + pause.max(SHORTEST_PAUSE));
            });
            return;
        }
        if let Some(lease) = renewal.next(now, hold.lease) {
            self.ask(hold, Renewing::Raise(lease));
        }
    }

    /// Asks for a new lease, or only whether the lock is still held, for as long as it can be relied on. One thing is
    /// asked at a time: what is on its way goes on over the next connection by itself.
    fn ask(self: &Arc<Self>, hold: Hold, renewing: Renewing) {
        let (hash, token) = (hold.resource.hash().to_owned(), hold.token);
        if !self.holds().ask(&hash, token) {
            return;
        }
        let time = self.now().until(hold.lease.end());
        if let Some(length) = renewing.lease() {
            self.holds().set_unanswered(&hash, token, true);
            self.announce(&hold, length, time);
        }
        let locker = self.clone();
        tokio::spawn(async move {
            let deadline = Deadline::after(Limit { time, option: "options.expire" });
            let renew = Renew { resource: &hold.resource, nonce: hold.nonce, renewing };
            let answer = locker.store.renew(renew, deadline).await;
            match answer {
                Ok(Renewed { ownership: Ownership::Held, sent }) => {
                    if let Some(length) = renewing.lease() {
                        let lease = Lease { sent, length };
                        let told = hold.observed && hold.renewal.is_some_and(|renewal| !renewal.once);
                        if locker.renewed(&hold, lease) && told {
                            locker.listener.tell(Event::Renewed(Hold { lease, ..hold }));
                        }
                    }
                }
                Ok(Renewed { ownership: Ownership::Gone, .. }) => {
                    locker.lost(&hash, token, LostReason::Purged)
                }
                Ok(Renewed { ownership: Ownership::Taken, .. }) => {
                    locker.lost(&hash, token, LostReason::Stolen);
                }
                // The server may accept the next one: one failure is not a loss.
                Err(Error::Refused(_)) => {
                    let now = locker.now();
                    let pause = (now.until(hold.lease.end()) / 4).max(SHORTEST_PAUSE);
                    locker.change_holds(|holds| {
                        holds.set_unanswered(&hash, token, false);
                        holds.put_off(&hash, token, now + pause);
                    });
                }
                // It is not renewed any more, and ends by itself.
                Err(Error::Closed) => locker.holds().set_unanswered(&hash, token, false),
                // The lease has ended meanwhile: what is due then says so.
                Err(_) => {}
            }
            locker.turn_over(&hash, token);
        });
    }

    /// Before the locker is closed: what has only its first, short lease gets the rest of it.
    pub(super) async fn give_whole_leases(self: &Arc<Self>) {
        let holds: Vec<_> = self.holds().relied_on().cloned().collect();
        for hold in holds {
            let Some(renewal) = hold.renewal.filter(|renewal| renewal.once) else { continue };
            let Some(length) = renewal.next(self.now(), hold.lease) else { continue };
            self.announce(&hold, length, self.limit.time);
            let deadline = Deadline::after(self.limit);
            // Without an answer the lock has its short lease, which is what is relied on.
            let renew =
                Renew { resource: &hold.resource, nonce: hold.nonce, renewing: Renewing::Raise(length) };
            if let Ok(Renewed { ownership: Ownership::Held, sent }) = self.store.renew(renew, deadline).await
            {
                self.renewed(&hold, Lease { sent, length });
            }
        }
    }

    /// Enters a lease that the store has given. `false` if it came too late: then the loss has been told, or will be,
    /// and what the store keeps is given back.
    pub(super) fn renewed(self: &Arc<Self>, hold: &Hold, lease: Lease) -> bool {
        let now = self.now();
        let in_time = now < lease.end()
            && self.change_holds(|holds| {
                holds.renewed(hold.resource.hash(), hold.token, lease, hold.over.max(lease.over(now)), now)
            });
        if !in_time && self.holds().get(hold.resource.hash(), Some(hold.token)).is_some() {
            self.cancel(hold.resource.clone(), hold.nonce, None, now.until(lease.over(now)));
        }
        in_time
    }

    /// Before a new lease is asked for, of which an answer may come within `time`.
    pub(super) fn announce(&self, hold: &Hold, length: Duration, time: Duration) {
        let now = self.now();
        let lease = Lease { sent: now, length };
        let over = lease.over(now + time);
        self.change_holds(|holds| holds.announce(hold.resource.hash(), hold.token, lease, over));
    }

    /// Tells that a lock was lost, if it is still relied on.
    pub(super) fn lost(&self, hash: &str, token: u64, reason: LostReason) {
        let mut holds = self.holds();
        let lost = holds.take_relied_on(hash, token);
        if lost.is_none() {
            holds.removed_early(token, self.now());
        }
        drop(holds);
        if let Some(hold) = lost {
            self.listener.tell(Event::Lost(hold, reason));
        }
    }
}
