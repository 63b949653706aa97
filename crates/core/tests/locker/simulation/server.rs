//! The locks as a server has them: the results that the scripts give in Redis. The scripts are the reference.
//!
//! * [`lock`]: one resource, and what is done with it.
//! * this file: what is asked of the server, and all that is not about one resource.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use lock_inc_core::{
    Contention, Identity, Inspection, LeaseChange, Moment, Nonce, QueuedCall, Resource,
    store::{Attempt, HandOver, Ownership, StoreEvent},
};
use tokio::time::Instant;

use self::lock::Lock;

mod lock;

/// A waiter's first lease.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

pub(crate) type Client = u32;

#[derive(Clone, Debug)]
pub(crate) enum Request {
    Acquire(Attempt),
    AcquireAll(Vec<Attempt>),
    /// Who holds it: before a steal.
    Look(Resource),
    /// From these, and from nobody else.
    Steal {
        attempt: Attempt,
        holders: Vec<Nonce>,
    },
    Poll {
        resource: Resource,
        waiting: Vec<QueuedCall>,
        last: bool,
    },
    Release {
        resource: Resource,
        nonce: Nonce,
        queued: bool,
        is_untouched: bool,
    },
    Renew {
        resource: Resource,
        nonce: Nonce,
        change: LeaseChange,
        extensions: u64,
    },
    Inspect(Resource),
    List,
    Remove(Resource),
    IsLocked(Resource),
    Purge,
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Acquire,
    AcquireAll,
    Poll,
    Release,
    Renew,
    Other,
}

impl Request {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Acquire(_) | Self::Steal { .. } => Kind::Acquire,
            Self::AcquireAll(_) => Kind::AcquireAll,
            Self::Poll { .. } => Kind::Poll,
            Self::Release { .. } => Kind::Release,
            Self::Renew { .. } => Kind::Renew,
            Self::Look(_)
            | Self::Inspect(_)
            | Self::List
            | Self::Remove(_)
            | Self::IsLocked(_)
            | Self::Purge => Kind::Other,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Reply {
    Granted(u64),
    Contended {
        contention: Contention,
        ticket: Option<u64>,
        time: Duration,
    },
    AllGranted(Vec<u64>),
    /// This one could not be taken, so none was.
    NotAllGranted {
        index: usize,
        contention: Contention,
    },
    Seen(Vec<Nonce>),
    /// Others hold it than those from whom it was to be stolen.
    NotStolen,
    Polled {
        missing: u64,
        contention: Option<Contention>,
        hand_overs: Vec<HandOver>,
        places: Vec<Option<u64>>,
        time: Duration,
    },
    Released {
        held: bool,
        next: Vec<HandOver>,
    },
    Renewed(Ownership),
    Inspected(Option<Inspection>),
    Listed(Vec<(Resource, Inspection)>),
    Flag(bool),
}

/// Whose command is carried out, and when.
#[derive(Clone, Copy, Debug)]
struct Caller {
    client: Client,
    now: Moment,
}

/// A lock that was taken from its holder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// When its lease would have ended.
    pub(crate) until: Moment,
    pub(crate) at: Instant,
}

/// What is not about one resource.
#[derive(Debug, Default)]
struct Books {
    last_token: u64,
    /// Who can be told.
    listening: HashSet<Client>,
    events: Vec<(Client, StoreEvent)>,
    /// The locks that were granted, in this order: to whom, by which token, and to which attempt.
    grants: Vec<(Client, u64, Nonce)>,
    /// By token.
    taken: HashMap<u64, Taken>,
}

impl Books {
    fn next_token(&mut self, now: Moment) -> u64 {
        let token = u64::try_from(time(now).as_micros()).unwrap();
        self.last_token = token.max(self.last_token + 1);
        self.last_token
    }
}

#[derive(Debug, Default)]
pub(crate) struct Server {
    locks: HashMap<Arc<str>, Lock>,
    books: Books,
    /// What was carried out, by whom.
    pub(crate) log: Vec<(Client, Kind)>,
}

pub(crate) fn identity(client: Client) -> Identity {
    Identity { client: client.to_string(), pid: client, host: "a-host".into() }
}

/// The server's clock has nothing to do with that of the lockers.
pub(crate) fn time(now: Moment) -> Duration {
    now.since_start() + Duration::from_secs(1_700_000_000)
}

impl Server {
    pub(crate) fn execute(&mut self, client: Client, request: &Request, now: Moment) -> Reply {
        self.log.push((client, request.kind()));
        let by = Caller { client, now };
        match request {
            Request::Acquire(attempt) => {
                let (lock, books) = self.lock(&attempt.resource);
                lock.acquire(books, by, attempt)
            }
            Request::AcquireAll(attempts) => self.acquire_all(by, attempts),
            Request::Look(resource) => Reply::Seen(self.lock(resource).0.holders(now).collect()),
            Request::Steal { attempt, holders } => {
                let (lock, books) = self.lock(&attempt.resource);
                lock.steal(books, by, attempt, holders)
            }
            Request::Poll { resource, waiting, last } => {
                let (lock, books) = self.lock(resource);
                lock.poll(books, by, waiting, *last)
            }
            Request::Release { resource, nonce, queued, is_untouched } => {
                let (lock, books) = self.lock(resource);
                lock.release(books, by, *nonce, *queued, *is_untouched)
            }
            Request::Renew { resource, nonce, change, extensions } => {
                self.lock(resource).0.renew(by, *nonce, *change, *extensions)
            }
            Request::Inspect(resource) => Reply::Inspected(self.lock(resource).0.inspect(now)),
            Request::List => {
                let listed = self.locks.values_mut().filter_map(|lock| lock.list(now));
                Reply::Listed(listed.collect())
            }
            Request::Remove(resource) => {
                let (lock, books) = self.lock(resource);
                Reply::Flag(lock.remove(books, now))
            }
            Request::IsLocked(resource) => Reply::Flag(self.lock(resource).0.holders(now).next().is_some()),
            Request::Purge => {
                for lock in self.locks.values_mut() {
                    lock.remove(&mut self.books, now);
                }
                Reply::Flag(true)
            }
        }
    }

    fn lock(&mut self, resource: &Resource) -> (&mut Lock, &mut Books) {
        let hash = resource.shared_hash();
        let lock = self.locks.entry(hash).or_insert_with(|| Lock::new(resource.clone()));
        (lock, &mut self.books)
    }

    fn acquire_all(&mut self, by: Caller, attempts: &[Attempt]) -> Reply {
        for (index, attempt) in attempts.iter().enumerate() {
            let (lock, books) = self.lock(&attempt.resource);
            if !lock.lets_in(books, by, attempt) {
                return Reply::NotAllGranted { index, contention: lock.refuse(by, attempt, None) };
            }
        }
        let take = |attempt: &Attempt| {
            let (lock, books) = self.lock(&attempt.resource);
            lock.take(books, by, attempt)
        };
        Reply::AllGranted(attempts.iter().map(take).collect())
    }

    /// Whether messages reach it from now on.
    pub(crate) fn set_listening(&mut self, client: Client, listens: bool) {
        if listens {
            self.books.listening.insert(client);
        } else {
            self.books.listening.remove(&client);
        }
    }

    pub(crate) fn take_events(&mut self) -> Vec<(Client, StoreEvent)> {
        std::mem::take(&mut self.books.events)
    }

    /// As `FLUSHALL`, but for the register of tokens.
    pub(crate) fn lose_everything(&mut self) {
        self.locks.clear();
    }

    pub(crate) fn lose_queue(&mut self) {
        self.locks.values_mut().for_each(Lock::lose_queue);
    }

    /// Who holds this: tokens, in the order in which they were granted, and what is left of the leases.
    pub(crate) fn leases(&self, hash: &str, now: Moment) -> Vec<(u64, Duration)> {
        self.locks.get(hash).map_or(Vec::new(), |lock| lock.leases(now))
    }

    pub(crate) fn waiting(&self, hash: &str) -> usize {
        self.locks.get(hash).map_or(0, Lock::waiting)
    }

    /// Neither a lock nor a waiter of a client that may live.
    pub(crate) fn is_empty(&self, now: Moment) -> bool {
        self.locks.values().all(|lock| lock.is_empty(now))
    }

    pub(crate) fn count(&self, client: Client, kind: Kind) -> usize {
        self.log.iter().filter(|logged| **logged == (client, kind)).count()
    }

    /// To whom it has granted locks.
    pub(crate) fn grants(&self) -> Vec<Client> {
        self.books.grants.iter().map(|(client, ..)| *client).collect()
    }

    /// To which client and attempt it has granted the lock with this token.
    pub(crate) fn grant(&self, token: u64) -> Option<(Client, Nonce)> {
        let mut grants = self.books.grants.iter();
        grants.find(|(_, granted, _)| *granted == token).map(|&(client, _, nonce)| (client, nonce))
    }

    /// Whether the lock with this token was taken from its holder: by a steal or a removal.
    pub(crate) fn taken(&self, token: u64) -> Option<Taken> {
        self.books.taken.get(&token).copied()
    }
}
