//! How a lock comes to a call that waits for it: by an event, or in the answer to another command.

use std::sync::Arc;

use super::{
    Locker,
    acquire::granted_too_late,
    waiting::{Given, WaitingCall},
};
use crate::{Moment, Nonce, Resource, holds::UnclaimedGrant, lease::Lease, store::HandOver};

/// After so many late grants a call is told so, even if it waits for ever: its lease is shorter than an answer takes.
pub(super) const MOST_LATE_GRANTS: u8 = 10;

/// What has become of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    /// The call has it.
    Given,
    /// The call still waits: the grant is too old to be relied on, or its loss is known.
    Stale,
    /// No such call waits.
    NobodyWaits,
}

impl Locker {
    /// The lock goes to a waiting call, as the answer to a command says that was sent at `since`.
    pub(super) fn on_hand_over(self: &Arc<Self>, resource: &Resource, hand_over: HandOver, since: Moment) {
        let lease = Lease { sent: since, length: hand_over.lease };
        self.deliver(&resource.shared_hash(), hand_over, Some(lease), true);
    }

    /// The lock went to a waiting call, as an event says that may be read late.
    pub(super) fn on_granted(self: &Arc<Self>, hash: &Arc<str>, hand_over: HandOver, since: Option<Moment>) {
        let lease = since.map(|sent| Lease { sent, length: hand_over.lease });
        self.deliver(hash, hand_over, lease, true);
    }

    /// Whoever does not wait any more gives the lock to the next one.
    fn deliver(
        self: &Arc<Self>,
        hash: &Arc<str>,
        hand_over: HandOver,
        lease: Option<Lease>,
        handed_over: bool,
    ) -> Delivery {
        let HandOver { nonce, token, .. } = hand_over;
        let now = self.now();
        let delivery = self.give(nonce, token, lease, handed_over);
        match delivery {
            Delivery::Given => {}
            // A poll tells, or brings the call back to its place in the queue.
            Delivery::Stale => self.waiting.change(|waiters| waiters.doubt(nonce, now)),
            Delivery::NobodyWaits => {
                let told = self.held.change(|holds| holds.on_unclaimed_grant(nonce, token, lease, now));
                let is_known = told == UnclaimedGrant::Known;
                if let UnclaimedGrant::Superseded(hold) = told {
                    self.tell_superseded(hold);
                }
                if !is_known {
                    // Cancelled meanwhile; or it was told twice, and the lock has been given up already.
                    let left = lease.map_or(hand_over.lease, |lease| now.until(lease.gone_by(now)));
                    self.cancel(Resource::of_hash(hash.clone()), nonce, None, left);
                }
            }
        }
        delivery
    }

    /// Ends the waiting of a call with a lock, if there is such a call and the lock can be relied on.
    fn give(self: &Arc<Self>, nonce: Nonce, token: u64, lease: Option<Lease>, handed_over: bool) -> Delivery {
        // The waiters are locked until the lock is among the holds: whoever does not find the call here finds it there.
        let entered = self.waiting.change(|waiters| {
            let (resource, call) = waiters.get_mut(nonce)?;
            let enter = |lease| self.enter(resource.clone(), nonce, token, lease, &call.options, handed_over);
            let entered = lease.map(enter);
            let Some(Ok(hold)) = entered else {
                call.late_grants += 1;
                return Some(Err(call.late_grants));
            };
            waiters.take(nonce).map(|(_, call)| Ok((hold, call)))
        });
        match entered {
            None => Delivery::NobodyWaits,
            Some(Err(late_grants)) => {
                if late_grants == MOST_LATE_GRANTS {
                    self.waiting.refuse(vec![nonce], &granted_too_late());
                }
                Delivery::Stale
            }
            Some(Ok((hold, WaitingCall { options, outcome, .. }))) => {
                if outcome.send(Ok(Box::new(Given { hold, options }))).is_err() {
                    self.abandon(nonce);
                }
                Delivery::Given
            }
        }
    }

    /// The same, for a grant in the answer to the call's own attempt. `false` if that came too late.
    pub(super) fn on_acquired(
        self: &Arc<Self>,
        resource: &Resource,
        nonce: Nonce,
        token: u64,
        lease: Lease,
    ) -> bool {
        let hand_over = HandOver { nonce, token, lease: lease.length };
        self.deliver(&resource.shared_hash(), hand_over, Some(lease), false) != Delivery::Stale
    }
}
