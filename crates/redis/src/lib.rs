//! Locks in Redis. `docs/protocol.md` is the reference for what is sent.
//!
//! # Layout
//!
//! * [`operations`]: what is asked of the server: the commands, and the Lua scripts that most of them run.
//! * [`keys`]: the names of keys. [`script`](mod@script): how scripts are called.
//! * [`clients`]: who the lockers are that the locks are of.
//! * [`listing`]: what this locker tells of what it holds and waits for.
//! * [`server_clock`]: what the tokens say of a server's clock. [`contended`]: names that somebody has lately waited for.
//! * [`events`], [`refusal`]: what messages and errors of the server mean.
//! * [`inquiry`]: questions to the servers that are about no lock.
//! * [`topology`]: which servers there are, which one a command is for, and how it gets its answer. [`link`]: the connection to one
//!   of them, which is always being kept up. [`resp`]: commands as bytes.
//! * [`config`], [`tls`]: how to reach the server.

use std::{future::ready, pin::Pin, sync::Arc, time::Duration};

use lock_inc_core::{
    Hold, Identity, Inspection, Nonce, Resource,
    error::Limit,
    store::{
        Acquired, AllAcquired, Answer, Attempt, Confirmation, Deadline, Poll, Polled, Release, Released,
        Renew, Renewed, Replication, Store, StoreEvents,
    },
};

#[cfg(unix)]
pub use self::link::socket;
use self::{clients::Clients, contended::Contended, keys::Keys, listing::Listing, topology::Seats};
pub use self::{link::Machine, topology::Servers};

mod clients;
pub mod config;
mod contended;
mod events;
pub mod inquiry;
mod keys;
mod link;
mod listing;
mod operations;
mod refusal;
mod resp;
mod script;
mod server_clock;
pub mod tls;
mod topology;

/// Which protocol it is that this locker speaks. The one of 1.2.0 counts as the first.
const PROTOCOL: u32 = 2;

/// Who holds a lock for longer than this says who it is. A shorter lock costs the server less than that.
const INTRODUCTION: Duration = Duration::from_millis(100);

/// A locker's locks in Redis, under one prefix.
pub struct Redis {
    seats: Arc<Seats>,
    keys: Keys,
    clients: Arc<Clients>,
    listing: Arc<Listing>,
    contended: Contended,
    /// Which grants count, if not all do.
    replication: Option<Replication>,
    /// One steal at a time, in the order of the calls: the last one is to have the lock.
    stealing: tokio::sync::Mutex<()>,
    /// The id of this locker.
    client: String,
    /// What records in the store say of it.
    description: String,
}

impl Redis {
    /// At these servers, which may serve other lockers as well. They have to be [reserved](Servers::reserve).
    ///
    /// `key_prefix`: in front of every key, and of the locker's own `prefix`. `replication`: which grants count, if not all do.
    pub fn new(
        servers: Arc<Servers>,
        key_prefix: &str,
        prefix: &str,
        identity: Identity,
        replication: Option<Replication>,
    ) -> Self {
        let keys = servers.keys([key_prefix, prefix].concat());
        let channel = [keys.channels(), &identity.client].concat();
        Self {
            seats: Arc::new(Seats::new(servers, channel, keys.clone(), replication.is_some())),
            keys,
            listing: Arc::default(),
            contended: Contended::default(),
            replication,
            stealing: tokio::sync::Mutex::default(),
            description: identity.describe(),
            client: identity.client.clone(),
            clients: Arc::new(Clients::new(identity)),
        }
    }
}

impl Store for Redis {
    fn start(&self, events: Arc<dyn StoreEvents>) {
        self.seats.join(events);
    }

    fn acquire<'a>(&'a self, attempt: &'a Attempt, deadline: Deadline) -> Answer<'a, Acquired> {
        Box::pin(self.acquire(attempt, deadline))
    }

    fn takes_together(&self, resources: &[Resource]) -> bool {
        resources.len() < 2 || !self.keys.are_scattered()
    }

    fn acquire_all<'a>(&'a self, attempts: &'a [Attempt], deadline: Deadline) -> Answer<'a, AllAcquired> {
        Box::pin(self.acquire_all(attempts, deadline))
    }

    fn replication(&self) -> Option<Replication> {
        self.replication
    }

    fn confirm<'a>(&'a self, grants: &'a [Hold], deadline: Deadline) -> Answer<'a, Confirmation> {
        Box::pin(self.confirm(grants, deadline))
    }

    fn poll<'a>(&'a self, poll: Poll<'a>, deadline: Deadline) -> Answer<'a, Polled> {
        Box::pin(self.poll(poll, deadline))
    }

    fn release<'a>(&'a self, release: Release<'a>, deadline: Deadline) -> Answer<'a, Released> {
        Box::pin(self.release(release, deadline))
    }

    fn is_locked<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, bool> {
        Box::pin(self.is_locked(resource, deadline))
    }

    fn renew<'a>(&'a self, renew: Renew<'a>, deadline: Deadline) -> Answer<'a, Renewed> {
        Box::pin(self.renew(renew, deadline))
    }

    fn tells(&self, resource: &Resource) -> bool {
        let place = self.seats.place_of(self.keys.of(resource).lock());
        self.seats.at(&place).is_some_and(|seat| seat.member.is_subscribed())
    }

    fn introduces_after(&self) -> Option<Duration> {
        Some(INTRODUCTION)
    }

    fn inspect<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, Option<Inspection>> {
        Box::pin(self.inspect(resource, deadline))
    }

    fn list(&self, deadline: Deadline) -> Answer<'_, Vec<(Resource, Inspection)>> {
        Box::pin(self.list(deadline))
    }

    fn forget(&self, nonce: Nonce) {
        if self.listing.on_released(nonce) {
            self.write_listing();
        }
    }

    fn identity(&self) -> &Identity {
        self.clients.identity()
    }

    fn remove<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, bool> {
        Box::pin(async move { self.force_unlock(&self.keys.of(resource), deadline).await })
    }

    fn purge(&self, patience: Limit) -> Answer<'_, ()> {
        Box::pin(self.purge(patience))
    }

    fn expect_events(&self, expected: bool) {
        self.seats.expect_messages(expected);
    }

    fn begin_close(&self) {
        self.seats.closing.cancel();
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.seats.leave();
        Box::pin(ready(()))
    }
}
