//! The store that a locker sees: each of its operations is a command, and the answer to it.

use std::{
    pin::Pin,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use lock_inc_core::{
    Hold, Identity, Inspection, Moment, Nonce, Resource,
    error::{Error, Limit, Result},
    store::{
        Acquired, AllAcquired, Answer, Attempt, Confirmation, Deadline, Grant, Poll, Polled, Release,
        Released, Renew, Renewed, Replication, Store, StoreEvents,
    },
};
use tokio::time::{sleep, timeout_at};

use super::{
    super::{
        ms,
        server::{Reply, Request},
    },
    Network,
};

impl Network {
    /// The same, detached: a command that has left is carried out also if nobody waits for it any more.
    fn request<T: Send>(
        &self,
        request: Request,
        deadline: Deadline,
        read: impl FnOnce(Reply, Moment, bool) -> T + Send + 'static,
    ) -> Answer<'_, T> {
        let network = self.shared();
        Box::pin(async move {
            let (reply, sent, resent) = network?.call(request, deadline).await?;
            Ok(read(reply, sent, resent))
        })
    }

    fn shared(&self) -> Result<Arc<Self>> {
        let network = self.connections.networks.lock().unwrap().get(&self.client).and_then(Weak::upgrade);
        network.ok_or(Error::Closed)
    }

    /// From those who hold the resource, of whom each is named: whoever comes later is not robbed by what is sent again.
    async fn steal(self: Arc<Self>, attempt: Attempt, deadline: Deadline) -> Result<Acquired> {
        let mut was_sent = false;
        loop {
            let look = self.clone().call(Request::Look(attempt.resource.clone()), deadline).await;
            let (seen, ..) = look.map_err(|error| if was_sent { error.after_sending() } else { error })?;
            let Reply::Seen(holders) = seen else { unexpected(&seen) };
            let steal = Request::Steal { attempt: attempt.clone(), holders };
            let (reply, sent, _) = self.clone().call(steal, deadline).await?;
            match reply {
                Reply::Granted(token) => return Ok(Acquired::Granted(Grant { token, sent })),
                Reply::NotStolen => was_sent = true,
                other => unexpected(&other),
            }
            sleep(ms(1).min(deadline.left())).await;
        }
    }
}

impl Network {
    /// Looks at each, and waits until enough replicas follow.
    async fn wait_for_replicas(
        self: Arc<Self>,
        grants: Vec<(Resource, Nonce)>,
        deadline: Deadline,
    ) -> Result<Confirmation> {
        let mut lost = None;
        for (index, (resource, nonce)) in grants.into_iter().enumerate() {
            let (seen, ..) = self.clone().call(Request::Look(resource), deadline).await?;
            let Reply::Seen(holders) = seen else { unexpected(&seen) };
            if !holders.contains(&nonce) {
                lost = lost.or(Some(index));
            }
        }
        let wanted = self.replication.lock().unwrap().map_or(0, |replication| replication.replicas);
        let mut following = self.following.subscribe();
        let _ = timeout_at(deadline.at, following.wait_for(|following| *following >= wanted)).await;
        let replicas = *following.borrow();
        Ok(Confirmation { replicas, lost, cause: None })
    }
}

fn unexpected(reply: &Reply) -> ! {
    panic!("not the answer to this: {reply:?}")
}

impl Store for Network {
    fn start(&self, events: Arc<dyn StoreEvents>) {
        *self.events.lock().unwrap() = Some(events);
    }

    fn acquire<'a>(&'a self, attempt: &'a Attempt, deadline: Deadline) -> Answer<'a, Acquired> {
        if attempt.steals {
            let network = self.shared();
            return Box::pin(async move { network?.steal(attempt.clone(), deadline).await });
        }
        self.request(Request::Acquire(attempt.clone()), deadline, |reply, sent, _| match reply {
            Reply::Granted(token) => Acquired::Granted(Grant { token, sent }),
            Reply::Contended { contention, ticket, .. } => Acquired::Contended { contention, ticket, sent },
            other => unexpected(&other),
        })
    }

    fn takes_together(&self, resources: &[Resource]) -> bool {
        resources.len() < 2 || !self.is_scattered.load(Ordering::Relaxed)
    }

    fn acquire_all<'a>(&'a self, attempts: &'a [Attempt], deadline: Deadline) -> Answer<'a, AllAcquired> {
        self.request(Request::AcquireAll(attempts.to_vec()), deadline, |reply, sent, resent| match reply {
            Reply::AllGranted(tokens) => AllAcquired::Granted { tokens, sent },
            Reply::NotAllGranted { index, contention } => {
                AllAcquired::Contended { index, contention, resent }
            }
            other => unexpected(&other),
        })
    }

    fn replication(&self) -> Option<Replication> {
        *self.replication.lock().unwrap()
    }

    fn confirm<'a>(&'a self, grants: &'a [Hold], deadline: Deadline) -> Answer<'a, Confirmation> {
        let network = self.shared();
        let grants = grants.iter().map(|hold| (hold.resource.clone(), hold.nonce)).collect();
        Box::pin(async move { network?.wait_for_replicas(grants, deadline).await })
    }

    fn poll<'a>(&'a self, poll: Poll<'a>, deadline: Deadline) -> Answer<'a, Polled> {
        let Poll { resource, waiting, last } = poll;
        let request = Request::Poll { resource: resource.clone(), waiting: waiting.to_vec(), last };
        self.request(request, deadline, |reply, sent, _| match reply {
            Reply::Polled { missing, contention, hand_overs, places, .. } => {
                Polled { missing, contention, hand_overs, places, sent }
            }
            other => unexpected(&other),
        })
    }

    fn release<'a>(&'a self, release: Release<'a>, deadline: Deadline) -> Answer<'a, Released> {
        let Release { resource, nonce, queued, is_untouched } = release;
        let (resource, queued) = (resource.clone(), queued.is_some());
        let request = Request::Release { resource, nonce, queued, is_untouched };
        self.request(request, deadline, |reply, sent, resent| match reply {
            Reply::Released { held: true, next } => {
                Released::Yes(next.into_iter().map(|next| (next, sent)).collect())
            }
            Reply::Released { .. } if resent => Released::NotAnyMore,
            Reply::Released { .. } => Released::No,
            other => unexpected(&other),
        })
    }

    fn renew<'a>(&'a self, renew: Renew<'a>, deadline: Deadline) -> Answer<'a, Renewed> {
        let Renew { resource, nonce, change, extensions, .. } = renew;
        let request = Request::Renew { resource: resource.clone(), nonce, change, extensions };
        self.request(request, deadline, |reply, sent, _| match reply {
            Reply::Renewed(ownership) => Renewed { ownership, sent },
            other => unexpected(&other),
        })
    }

    fn introduces_after(&self) -> Option<Duration> {
        *self.introduction.lock().unwrap()
    }

    fn inspect<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, Option<Inspection>> {
        self.request(Request::Inspect(resource.clone()), deadline, |reply, _, _| match reply {
            Reply::Inspected(inspection) => inspection,
            other => unexpected(&other),
        })
    }

    fn list(&self, deadline: Deadline) -> Answer<'_, Vec<(Resource, Inspection)>> {
        self.request(Request::List, deadline, |reply, _, _| match reply {
            Reply::Listed(listed) => listed,
            other => unexpected(&other),
        })
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn remove<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, bool> {
        self.request(Request::Remove(resource.clone()), deadline, |reply, _, _| {
            matches!(reply, Reply::Flag(true))
        })
    }

    fn is_locked<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, bool> {
        self.request(Request::IsLocked(resource.clone()), deadline, |reply, _, _| {
            matches!(reply, Reply::Flag(true))
        })
    }

    fn purge(&self, patience: Limit) -> Answer<'_, ()> {
        self.request(Request::Purge, Deadline::after(patience), |_, _, _| ())
    }

    fn expect_events(&self, expected: bool) {
        *self.expecting.lock().unwrap() += if expected { 1 } else { -1 };
    }

    fn begin_close(&self) {
        self.closing.cancel();
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.closed.store(true, Ordering::Relaxed);
            self.disconnect();
        })
    }
}
