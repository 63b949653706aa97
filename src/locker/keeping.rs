//! What happens to locks between their grant and their unlock: renewal, loss, and what the server says of them.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::sleep};

use super::{Event, Locker};
use crate::{
    core::{Due, Hold, Lease, Moment, Standing},
    driver::{Deadline, LostReason, Notice},
    error::{Error, Limit},
};

/// A runtime's timers stand still while the machine sleeps. So nothing is waited for longer than this at a time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Between two renewals of which the server has refused the first.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

impl Locker {
    /// Looks after the holds, until the locker is closed and nothing is held or nobody listens.
    pub(super) async fn keep(self: Arc<Self>, mut notices: mpsc::UnboundedReceiver<Notice>) {
        let mut connected = false;
        loop {
            let next = self.holds().next_due();
            let due = async {
                match next {
                    Some(due) => sleep(Moment::now().until(due).min(LONGEST_SLEEP)).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.sooner.notified() => {}
                Some(notice) = notices.recv() => match notice {
                    Notice::Connected if !connected => connected = true,
                    Notice::Connected => {
                        self.listener.tell(Event::Reconnected);
                        self.recheck();
                    }
                    Notice::Removed { hash, token } => self.lost(&hash, token, LostReason::Purged),
                },
            }
            let due = self.holds().due(Moment::now());
            for due in due {
                match due {
                    Due::Renew(hold) => self.renew(hold),
                    Due::Expired { hold, unanswered: false } => {
                        self.listener.tell(Event::Lost(hold, LostReason::Expired));
                    }
                    Due::Expired { hold, unanswered: true } => {
                        self.listener.tell(Event::Lost(hold, LostReason::Connection));
                    }
                }
            }
            // Whoever closes wakes this loop.
            if self.closed.initialized() && (self.holds().is_empty() || !self.listener.tell(Event::Alive)) {
                self.listener.tell(Event::Ended);
                return;
            }
        }
    }

    /// After a connection was lost, news may have been missed: asks about every hold at once.
    fn recheck(self: &Arc<Self>) {
        let holds: Vec<_> = self.holds().relied_on().cloned().collect();
        for hold in holds {
            if hold.renewal.is_some() {
                self.renew(hold);
            } else {
                self.ask(hold, None);
            }
        }
    }

    /// Renews a hold in the background, unless it is meant to run out, as all are when the locker is closed.
    fn renew(self: &Arc<Self>, hold: Hold) {
        let Some(renewal) = hold.renewal.filter(|_| !self.closing.is_cancelled()) else { return };
        let now = Moment::now();
        if renewal.max_blocked.is_some_and(|limit| self.listener.blocked_for() > limit) {
            // It may run again before the lease is over.
            let pause = now.until(hold.lease.end()) / 8;
            self.holds().put_off(hold.resource.hash(), hold.token, now + pause.max(SHORTEST_PAUSE));
            return;
        }
        if let Some(lease) = renewal.next(now) {
            self.ask(hold, Some(lease));
        }
    }

    /// Asks for a new lease, or only whether the lock is still held, for as long as it can be relied on.
    fn ask(self: &Arc<Self>, hold: Hold, lease: Option<Duration>) {
        let locker = self.clone();
        let (hash, token) = (hold.resource.hash().to_owned(), hold.token);
        if let Some(length) = lease {
            self.holds().set_unanswered(&hash, token, true);
            self.shorten(&hold, length);
        }
        tokio::spawn(async move {
            let time = Moment::now().until(hold.lease.end());
            let deadline = Deadline::after(Limit { time, option: "options.expire" });
            match locker.driver.renew(&hold.resource, hold.nonce, lease, deadline).await {
                Ok(renewed) => match (renewed.standing, lease) {
                    (Standing::Held, Some(length)) => {
                        let lease = Lease { sent: renewed.sent, length };
                        let over = lease.over(Moment::now());
                        let renewed = locker.change_holds(|holds| holds.renewed(&hash, token, lease, over));
                        if renewed && hold.observed {
                            locker.listener.tell(Event::Renewed(Hold { lease, over, ..hold }));
                        }
                    }
                    (Standing::Held, None) => {}
                    (Standing::Gone, _) => locker.lost(&hash, token, LostReason::Purged),
                    (Standing::Taken, _) => locker.lost(&hash, token, LostReason::Stolen),
                },
                // The server may accept the next one: one failure is not a loss.
                Err(Error::Refused(_)) => {
                    let now = Moment::now();
                    let pause = now.until(hold.lease.end()) / 4;
                    locker.change_holds(|holds| holds.put_off(&hash, token, now + pause.max(SHORTEST_PAUSE)));
                }
                // It is not renewed any more, and ends by itself.
                Err(Error::Closed) => locker.holds().set_unanswered(&hash, token, false),
                // The lease has ended meanwhile: what is due then says so.
                Err(_) => {}
            }
        });
    }

    /// Before a new lease is asked for: it may be shorter than the one that runs, and the reply may be lost. So from
    /// now on no more than the new one is relied on.
    pub(super) fn shorten(&self, hold: &Hold, length: Duration) {
        let lease = Lease { sent: Moment::now(), length };
        self.change_holds(|holds| holds.shorten(hold.resource.hash(), hold.token, lease));
    }

    /// Tells that a lock was lost, if it is still relied on.
    pub(super) fn lost(&self, hash: &str, token: u64, reason: LostReason) {
        let lost = self.holds().take_relied_on(hash, token);
        if let Some(hold) = lost {
            self.listener.tell(Event::Lost(hold, reason));
        }
    }
}
