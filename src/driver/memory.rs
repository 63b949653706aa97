//! Locks in the memory of this process: no server, same results.

use std::{
    collections::HashMap,
    future::ready,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Acquired, Answer, Attempt, Deadline, Driver, Grant, Notice, Notices, Released, Renewed};
use crate::{
    core::{
        Contention, LockTable, Moment, Nonce, Renewing, Resource,
        table::{Claim, Removed},
    },
    error::Limit,
    options::Identity,
};

type SharedTable = Arc<Mutex<Store>>;

/// The locks of a prefix, and the lockers that want to hear of them.
#[derive(Debug, Default)]
struct Store {
    table: LockTable,
    /// By the id of the client.
    lockers: HashMap<String, Notices>,
}

impl Store {
    fn tell(&self, Removed { hash, holder }: Removed) {
        if let Some(notices) = self.lockers.get(&holder.client) {
            // A locker that has just gone needs no news.
            let _ = notices.send(Notice::Removed { hash, token: holder.token });
        }
    }
}

/// One table per prefix, shared by every locker of the process, in whichever worker thread. They stay: like a
/// server, they outlive the lockers.
static TABLES: LazyLock<Mutex<HashMap<String, SharedTable>>> = LazyLock::new(Mutex::default);

/// A locker's access to the table of its prefix.
#[derive(Debug)]
pub struct Memory {
    store: SharedTable,
    identity: Identity,
}

impl Memory {
    pub fn new(prefix: &str, identity: Identity, notices: Notices) -> Self {
        let store = lock(&TABLES).entry(prefix.to_owned()).or_default().clone();
        lock(&store).lockers.insert(identity.client.clone(), notices);
        Self { store, identity }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        lock(&self.store).lockers.remove(&self.identity.client);
    }
}

/// std's Mutex: nothing awaits while holding it. A panic elsewhere leaves the table usable, as every change to it
/// is made whole before the guard is dropped.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Driver for Memory {
    fn acquire<'a>(&'a self, attempt: &'a Attempt, _deadline: Deadline) -> Answer<'a, Acquired> {
        let now = Moment::now();
        let answer = lock(&self.store).table.acquire(Claim {
            resource: &attempt.resource,
            nonce: attempt.nonce,
            lease: attempt.lease,
            client: &self.identity.client,
            pid: self.identity.pid,
            host: &self.identity.host,
            now,
            clock: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        });
        Box::pin(ready(Ok(match answer {
            Ok(token) => Acquired::Granted(Grant { token, sent: now }),
            Err(contention) => Acquired::Contended(contention),
        })))
    }

    fn release<'a>(
        &'a self,
        resource: &'a Resource,
        nonce: Nonce,
        _deadline: Deadline,
    ) -> Answer<'a, Released> {
        let released = lock(&self.store).table.release(resource.hash(), nonce, Moment::now());
        Box::pin(ready(Ok(if released { Released::Yes } else { Released::No })))
    }

    fn is_locked<'a>(&'a self, resource: &'a Resource, _deadline: Deadline) -> Answer<'a, bool> {
        let locked = lock(&self.store).table.is_locked(resource.hash(), Moment::now());
        Box::pin(ready(Ok(locked)))
    }

    fn renew<'a>(
        &'a self,
        resource: &'a Resource,
        nonce: Nonce,
        renewing: Renewing,
        _deadline: Deadline,
    ) -> Answer<'a, Renewed> {
        let sent = Moment::now();
        let standing = lock(&self.store).table.renew(resource.hash(), nonce, renewing, sent);
        Box::pin(ready(Ok(Renewed { standing, sent })))
    }

    fn inspect<'a>(&'a self, resource: &'a Resource, _deadline: Deadline) -> Answer<'a, Option<Contention>> {
        let holder = lock(&self.store).table.inspect(resource.hash(), Moment::now());
        Box::pin(ready(Ok(holder)))
    }

    fn remove<'a>(&'a self, resource: &'a Resource, _deadline: Deadline) -> Answer<'a, bool> {
        let mut store = lock(&self.store);
        let removed = store.table.remove(resource.hash(), Moment::now());
        let there = removed.is_some();
        if let Some(removed) = removed {
            store.tell(removed);
        }
        Box::pin(ready(Ok(there)))
    }

    fn purge(&self, _patience: Limit) -> Answer<'_, ()> {
        let mut store = lock(&self.store);
        for removed in store.table.purge(Moment::now()) {
            store.tell(removed);
        }
        Box::pin(ready(Ok(())))
    }

    fn begin_close(&self) {}

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(ready(()))
    }
}
