//! Locks in the memory of this process: no server, same results.

use std::{
    collections::HashMap,
    future::ready,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Acquired, Answer, Attempt, Deadline, Driver, Grant, HandOver, Notice, Notices, Polled, Released, Renewed,
};
use crate::{
    core::{
        Identity, Inspection, LockTable, Moment, Nonce, Queued, Renewing, Resource, StoreClock,
        table::{Claim, News, Now, What},
    },
    error::Limit,
};

type SharedStore = Arc<Mutex<Store>>;

/// The locks of a prefix, and the lockers that want to hear of them.
#[derive(Debug, Default)]
struct Store {
    table: LockTable,
    /// By the id of the client.
    lockers: HashMap<String, Notices>,
}

impl Store {
    /// Tells everybody what the last call has done to them.
    fn tell(&mut self, now: Moment) {
        for News { client, hash, token, what } in self.table.take_news() {
            let notice = match what {
                What::Removed => Notice::Removed { hash, token },
                What::Granted { nonce, lease } => Notice::Granted {
                    hash,
                    hand_over: HandOver { nonce, token, lease },
                    at: now.since_start(),
                },
            };
            if let Some(notices) = self.lockers.get(&client) {
                // A locker that has just gone needs no news.
                let _ = notices.send(notice);
            }
        }
    }
}

/// One table per prefix, shared by every locker of the process, in whichever worker thread. They stay: like a
/// server, they outlive the lockers.
static TABLES: LazyLock<Mutex<HashMap<String, SharedStore>>> = LazyLock::new(Mutex::default);

/// A locker's access to the table of its prefix.
#[derive(Debug)]
pub struct Memory {
    store: SharedStore,
    identity: Identity,
}

impl Memory {
    pub fn new(prefix: &str, identity: Identity, notices: Notices) -> Self {
        let store = lock(&TABLES).entry(prefix.to_owned()).or_default().clone();
        // News always come.
        let _ = notices.send(Notice::Connected { hears: true });
        {
            let mut store = lock(&store);
            store.table.enter(&identity.client);
            store.lockers.insert(identity.client.clone(), notices);
        }
        Self { store, identity }
    }

    /// Does something with the table, and tells everybody what came of it.
    fn with<T>(&self, act: impl FnOnce(&mut LockTable, Now) -> T) -> T {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut store = lock(&self.store);
        let moment = Moment::now();
        let result = act(&mut store.table, Now { moment, clock });
        store.tell(moment);
        result
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut store = lock(&self.store);
        store.table.leave(&self.identity.client);
        store.lockers.remove(&self.identity.client);
    }
}

/// std's Mutex: nothing awaits while holding it. A panic elsewhere leaves the table usable, as every change to it
/// is made whole before the guard is dropped.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    Box::pin(ready(Ok(value)))
}

fn clock(now: Now) -> StoreClock {
    StoreClock { sent: now.moment, time: now.moment.since_start() }
}

impl Driver for Memory {
    fn acquire<'a>(&'a self, attempt: &'a Attempt, _deadline: Deadline) -> Answer<'a, Acquired> {
        let Attempt { ref resource, nonce, lease, waits } = *attempt;
        answer(self.with(|table, now| {
            match table.acquire(Claim { resource, nonce, lease, identity: &self.identity, waits, now }) {
                Ok(token) => Acquired::Granted(Grant { token, sent: now.moment }),
                Err(refused) => Acquired::Contended {
                    contention: refused.contention,
                    ticket: refused.ticket,
                    clock: clock(now),
                },
            }
        }))
    }

    fn poll<'a>(
        &'a self,
        resource: &'a Resource,
        waiting: &'a [Queued],
        last: bool,
        _deadline: Deadline,
    ) -> Answer<'a, Polled> {
        answer(self.with(|table, now| {
            let contention = table.poll(resource, waiting, last, &self.identity, now);
            // Also where the news of it are on their way.
            let granted = waiting.iter().find_map(|&Queued { nonce, lease, .. }| {
                table.token_of(resource.hash(), nonce).map(|token| HandOver { nonce, token, lease })
            });
            if let Some(HandOver { nonce, lease, .. }) = granted {
                table.renew(resource.hash(), nonce, Renewing::Raise(lease), now);
            }
            Polled { missing: 0, contention, hand_over: granted, clock: clock(now) }
        }))
    }

    fn release<'a>(
        &'a self,
        resource: &'a Resource,
        nonce: Nonce,
        _waiting: Option<Duration>,
        _deadline: Deadline,
    ) -> Answer<'a, Released> {
        let released = self.with(|table, now| table.release(resource.hash(), nonce, now));
        answer(if released { Released::Yes(None) } else { Released::No })
    }

    fn is_locked<'a>(&'a self, resource: &'a Resource, _deadline: Deadline) -> Answer<'a, bool> {
        answer(self.with(|table, now| table.is_locked(resource.hash(), now)))
    }

    fn renew<'a>(
        &'a self,
        resource: &'a Resource,
        nonce: Nonce,
        renewing: Renewing,
        _deadline: Deadline,
    ) -> Answer<'a, Renewed> {
        answer(self.with(|table, now| {
            let standing = table.renew(resource.hash(), nonce, renewing, now);
            Renewed { standing, sent: now.moment }
        }))
    }

    fn inspect<'a>(&'a self, resource: &'a Resource, _deadline: Deadline) -> Answer<'a, Option<Inspection>> {
        answer(self.with(|table, now| table.inspect(resource.hash(), now)))
    }

    fn remove<'a>(&'a self, resource: &'a Resource, _deadline: Deadline) -> Answer<'a, bool> {
        answer(self.with(|table, now| table.remove(resource.hash(), now)))
    }

    fn purge(&self, _patience: Limit) -> Answer<'_, ()> {
        self.with(LockTable::purge);
        answer(())
    }

    fn begin_close(&self) {}

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.with(|table, _| table.leave(&self.identity.client));
        Box::pin(ready(()))
    }
}
