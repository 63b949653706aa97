//! The last poll of calls whose patience is over: it says who is in the way, and takes them out of the queue.
//!
//! Calls that began to wait together mostly give up together. So there is one such poll of a resource at a time, and
//! those that come meanwhile share the next one.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex},
};

use tokio::sync::oneshot;

use super::{Locker, poll::POLL_PAGE};
use crate::{
    Contention, QueuedCall, Resource,
    error::Result,
    mutex::lock,
    store::{Deadline, Poll},
};

/// What the last poll of a call says.
pub(super) struct LastPoll {
    /// The lock is its own, but cannot be relied on.
    pub(super) is_granted: bool,
    /// Who is in the way.
    pub(super) contention: Option<Contention>,
}

/// Calls that are to be polled for the last time, by resource. There is an entry for as long as somebody sees to them.
#[derive(Default)]
pub(super) struct Leaving(Mutex<HashMap<Arc<str>, Vec<LeavingCall>>>);

struct LeavingCall {
    call: QueuedCall,
    deadline: Deadline,
    told: oneshot::Sender<Result<LastPoll>>,
}

impl Leaving {
    /// Takes out those of the next poll, those first whose deadlines end first. None: nobody sees to this resource any
    /// more.
    fn next_page(&self, hash: &str) -> Vec<LeavingCall> {
        let mut leaving = lock(&self.0);
        let Some(calls) = leaving.get_mut(hash) else { return Vec::new() };
        // Whoever has gone meanwhile is cancelled by itself.
        calls.retain(|call| !call.told.is_closed());
        calls.sort_by_key(|call| call.deadline.at);
        let page: Vec<_> = calls.drain(..calls.len().min(POLL_PAGE)).collect();
        if page.is_empty() {
            leaving.remove(hash);
        }
        page
    }

    fn put_back(&self, hash: &str, page: Vec<LeavingCall>) {
        lock(&self.0).entry(hash.into()).or_default().extend(page);
    }
}

impl Locker {
    /// Polls for the last time. That may bring the turn of another call, so it goes on if nobody waits for the answer.
    pub(super) fn poll_last(
        self: &Arc<Self>,
        resource: Resource,
        call: QueuedCall,
        deadline: Deadline,
    ) -> oneshot::Receiver<Result<LastPoll>> {
        let (told, answer) = oneshot::channel();
        let call = LeavingCall { call, deadline, told };
        match lock(&self.leaving.0).entry(resource.shared_hash()) {
            Entry::Occupied(calls) => calls.into_mut().push(call),
            Entry::Vacant(calls) => {
                calls.insert(vec![call]);
                tokio::spawn(self.clone().see_off(resource));
            }
        }
        answer
    }

    async fn see_off(self: Arc<Self>, resource: Resource) {
        loop {
            let page = self.leaving.next_page(resource.hash());
            let Some(deadline) = page.first().map(|call| call.deadline) else { return };
            let waiting: Vec<_> = page.iter().map(|leaving| leaving.call).collect();
            let poll = Poll { resource: &resource, waiting: &waiting, last: true };
            let polled = match self.store.poll(poll, deadline).await {
                Ok(polled) => polled,
                Err(error) => {
                    // It is about the time of those who had the least. The others ask again, each within its own.
                    let (late, others): (Vec<_>, Vec<_>) =
                        page.into_iter().partition(|call| call.deadline == deadline);
                    self.leaving.put_back(resource.hash(), others);
                    for leaving in late {
                        // Whoever is gone needs no answer.
                        let _ = leaving.told.send(Err(error.clone()));
                    }
                    continue;
                }
            };
            let granted: Vec<_> = polled.hand_overs.iter().map(|hand_over| hand_over.nonce).collect();
            for hand_over in polled.hand_overs {
                self.on_hand_over(&resource, hand_over, polled.sent);
            }
            for (leaving, place) in page.into_iter().zip(polled.places) {
                let is_granted = granted.contains(&leaving.call.nonce);
                let contention = polled.contention.clone().map(|known| Contention { place, ..known });
                let _ = leaving.told.send(Ok(LastPoll { is_granted, contention }));
            }
        }
    }
}
