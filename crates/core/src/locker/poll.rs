//! Asking about calls that wait, where no event has come.

use std::sync::Arc;

use super::Locker;
use crate::{
    Contention, QueuedCall, Resource,
    store::{Poll, Polled},
    waiters::{DuePoll, SHORTEST_POLL},
};

/// So many calls at the most are asked about in one poll, after which other clients have their turn.
pub(super) const POLL_PAGE: usize = 512;

impl Locker {
    /// Asks about those whose time has come.
    pub(super) fn poll_due(self: &Arc<Self>) {
        let due = self.waiting.lock().take_due(self.now());
        for poll in due {
            tokio::spawn(self.clone().poll(poll));
        }
    }

    async fn poll(self: Arc<Self>, due: DuePoll) {
        let DuePoll { resource, waiting, .. } = &due;
        let resource = resource.clone();
        let mut known = None;
        let mut failed = false;
        for page in waiting.chunks(POLL_PAGE) {
            // Some may have gone while others were asked about.
            let page = self.waiting.lock().still(page);
            if page.is_empty() {
                continue;
            }
            let poll = Poll { resource: &resource, waiting: &page, last: false };
            match self.store.poll(poll, self.deadline()).await {
                Ok(polled) => {
                    if polled.missing > 0 {
                        self.cancel_the_gone(&resource, &page);
                    }
                    known = self.on_polled(&resource, waiting.len(), polled);
                }
                Err(error) if error.is_final() => {
                    let nonces = self.waiting.lock().of(resource.hash());
                    self.waiting.refuse(nonces, &error);
                    break;
                }
                // Whatever it was, it is tried again.
                Err(_) => {
                    failed = true;
                    break;
                }
            }
        }
        self.waiting.change(|waiters| {
            if failed {
                waiters.on_poll_failed(due);
            }
            waiters.on_polled(resource.hash(), self.now(), |interval| match known {
                Some(contention) => self.poll_pause(&resource, &contention, interval),
                None => interval.max(SHORTEST_POLL),
            });
        });
    }

    /// A poll may have put calls into the queue that have gone meanwhile.
    fn cancel_the_gone(self: &Arc<Self>, resource: &Resource, polled: &[QueuedCall]) {
        for &QueuedCall { nonce, terms, .. } in polled {
            // In this order, as a call goes from the waiters to the holds.
            let waits = self.waiting.lock().contains(nonce);
            if !waits && !self.held.has(nonce) {
                self.cancel(resource.clone(), nonce, Some(terms), terms.lease);
            }
        }
    }

    /// Draws the conclusions from the answer to a poll of so many calls. Returns who is in the way.
    fn on_polled(self: &Arc<Self>, resource: &Resource, asked: usize, polled: Polled) -> Option<Contention> {
        let Polled { missing, contention, hand_overs, sent, .. } = polled;
        for hand_over in hand_overs {
            self.on_hand_over(resource, hand_over, sent);
        }
        self.waiting.change(|waiters| {
            let now = self.now();
            if missing > 0 {
                waiters.doubt_all(resource.hash(), asked, now);
            }
            if let Some(holder) = contention.as_ref().and_then(|contention| contention.holder.as_ref()) {
                waiters.doubt(holder.nonce, now);
            }
        });
        contention
    }
}
