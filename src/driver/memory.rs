//! Locks in the memory of this process: no server, same results.

use std::{
    collections::HashMap,
    future::ready,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{Acquired, Answer, Attempt, Deadline, Driver, Grant, Released};
use crate::{
    core::{LockTable, Nonce, Resource, table::Claim},
    options::Identity,
};

type SharedTable = Arc<Mutex<LockTable>>;

/// One table per prefix, shared by every locker of the process, in whichever worker thread. They stay: like a
/// server, they outlive the lockers.
static TABLES: LazyLock<Mutex<HashMap<String, SharedTable>>> = LazyLock::new(Mutex::default);

/// A locker's access to the table of its prefix.
#[derive(Debug)]
pub struct Memory {
    table: SharedTable,
    identity: Identity,
}

impl Memory {
    pub fn new(prefix: &str, identity: Identity) -> Self {
        let table = lock(&TABLES).entry(prefix.to_owned()).or_default().clone();
        Self { table, identity }
    }
}

/// std's Mutex: nothing awaits while holding it. A panic elsewhere leaves the table usable, as every change to it
/// is made whole before the guard is dropped.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Driver for Memory {
    fn acquire<'a>(&'a self, attempt: &'a Attempt, _deadline: Deadline) -> Answer<'a, Acquired> {
        let now = Instant::now();
        let answer = lock(&self.table).acquire(Claim {
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
        let released = lock(&self.table).release(resource.hash(), nonce, Instant::now());
        Box::pin(ready(Ok(if released { Released::Yes } else { Released::No })))
    }

    fn is_locked<'a>(&'a self, resource: &'a Resource, _deadline: Deadline) -> Answer<'a, bool> {
        let locked = lock(&self.table).is_locked(resource.hash(), Instant::now());
        Box::pin(ready(Ok(locked)))
    }

    fn purge(&self, _patience: Duration) -> Answer<'_, ()> {
        lock(&self.table).purge();
        Box::pin(ready(Ok(())))
    }

    fn begin_close(&self) {}

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(ready(()))
    }
}
