//! The locks as a server has them: the results that the scripts give in Redis. The scripts are the reference.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use lock_inc_core::{
    Contention, Holder, Identity, Inspection, LeaseChange, Moment, Nonce, QueuedCall, Resource, Waiter,
    store::{Attempt, HandOver, Ownership, StoreEvent},
};

/// A waiter's first lease.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// For so long after its last poll a client counts as alive.
const ALIVE: Duration = Duration::from_secs(15);

pub(crate) type Client = u32;

#[derive(Clone, Debug)]
pub(crate) enum Request {
    Acquire(Attempt),
    Poll { resource: Resource, waiting: Vec<QueuedCall>, last: bool },
    Release { resource: Resource, nonce: Nonce, queued: bool, is_untouched: bool },
    Renew { resource: Resource, nonce: Nonce, change: LeaseChange, extensions: u64 },
    Inspect(Resource),
    Remove(Resource),
    IsLocked(Resource),
    Purge,
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Acquire,
    Poll,
    Release,
    Renew,
    Other,
}

impl Request {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Acquire(_) => Kind::Acquire,
            Self::Poll { .. } => Kind::Poll,
            Self::Release { .. } => Kind::Release,
            Self::Renew { .. } => Kind::Renew,
            Self::Inspect(_) | Self::Remove(_) | Self::IsLocked(_) | Self::Purge => Kind::Other,
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
    Polled {
        missing: u64,
        contention: Option<Contention>,
        hand_over: Option<HandOver>,
        places: Vec<Option<u64>>,
        time: Duration,
    },
    Released {
        held: bool,
        next: Option<HandOver>,
    },
    Renewed(Ownership),
    Inspected(Option<Inspection>),
    Flag(bool),
}

#[derive(Debug)]
struct Held {
    nonce: Nonce,
    token: u64,
    client: Client,
    count: u64,
    until: Moment,
    extensions: u64,
    /// It was handed over, and there has been no sign of life since.
    in_grace: bool,
    /// It has been renewed, or looked at.
    is_touched: bool,
}

#[derive(Debug)]
struct QueuedWaiter {
    client: Client,
    lease: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Server {
    held: HashMap<Arc<str>, Held>,
    queues: HashMap<Arc<str>, BTreeMap<(u64, Nonce), QueuedWaiter>>,
    /// Until when a client counts as alive.
    alive: HashMap<Client, Moment>,
    /// Who can be told.
    pub(crate) listening: HashSet<Client>,
    last_token: u64,
    events: Vec<(Client, StoreEvent)>,
    /// What was carried out, by whom.
    pub(crate) log: Vec<(Client, Kind)>,
    /// To whom it has granted locks.
    pub(crate) grants: Vec<Client>,
}

fn identity(client: Client) -> Identity {
    Identity { client: client.to_string(), pid: client, host: "h".into() }
}

/// The server's clock has nothing to do with that of the lockers.
pub(crate) fn time(now: Moment) -> Duration {
    now.since_start() + Duration::from_secs(1_700_000_000)
}

impl Server {
    pub(crate) fn execute(&mut self, client: Client, request: &Request, now: Moment) -> Reply {
        self.log.push((client, request.kind()));
        match request {
            Request::Acquire(attempt) => self.acquire(client, attempt, now),
            Request::Poll { resource, waiting, last } => self.poll(client, resource, waiting, *last, now),
            Request::Release { resource, nonce, queued, is_untouched } => {
                self.release(client, resource, *nonce, *queued, *is_untouched, now)
            }
            Request::Renew { resource, nonce, change, extensions } => {
                self.renew(resource, *nonce, *change, *extensions, now)
            }
            Request::Inspect(resource) => self.inspect(resource, now),
            Request::Remove(resource) => Reply::Flag(self.remove(&resource.shared_hash(), now)),
            Request::IsLocked(resource) => Reply::Flag(self.holder(resource.hash(), now).is_some()),
            Request::Purge => {
                for hash in self.held.keys().cloned().collect::<Vec<_>>() {
                    self.remove(&hash, now);
                }
                Reply::Flag(true)
            }
        }
    }

    pub(crate) fn take_events(&mut self) -> Vec<(Client, StoreEvent)> {
        std::mem::take(&mut self.events)
    }

    /// As `FLUSHALL`, but for the register of tokens.
    pub(crate) fn lose_everything(&mut self) {
        self.held.clear();
        self.queues.clear();
    }

    pub(crate) fn lose_queue(&mut self) {
        self.queues.clear();
    }

    pub(crate) fn holder(&self, hash: &str, now: Moment) -> Option<u64> {
        self.held.get(hash).filter(|held| now < held.until).map(|held| held.token)
    }

    pub(crate) fn lease_left(&self, hash: &str, now: Moment) -> Duration {
        self.held.get(hash).map_or(Duration::ZERO, |held| now.until(held.until))
    }

    pub(crate) fn waiting(&self, hash: &str) -> usize {
        self.queues.get(hash).map_or(0, BTreeMap::len)
    }

    /// Neither a lock nor a waiter of a client that may live.
    pub(crate) fn is_empty(&self, now: Moment) -> bool {
        let is_dead =
            |waiter: &QueuedWaiter| self.alive.get(&waiter.client).is_none_or(|until| *until <= now);
        self.held.values().all(|held| held.until <= now)
            && self.queues.values().flat_map(BTreeMap::values).all(is_dead)
    }

    pub(crate) fn count(&self, client: Client, kind: Kind) -> usize {
        self.log.iter().filter(|logged| **logged == (client, kind)).count()
    }

    /// Forgets the holder if its lease has ended. A client that gave no sign of life in the time of grace is taken for dead.
    fn end_lease(&mut self, hash: &str, now: Moment) {
        if let Some(held) = self.held.get(hash)
            && held.until <= now
        {
            if held.in_grace {
                self.alive.remove(&held.client);
            }
            self.held.remove(hash);
        }
    }

    fn next_token(&mut self, now: Moment) -> u64 {
        let token = u64::try_from(time(now).as_micros()).unwrap();
        self.last_token = token.max(self.last_token + 1);
        self.last_token
    }

    fn grant(
        &mut self,
        client: Client,
        hash: Arc<str>,
        nonce: Nonce,
        until: Moment,
        token: u64,
        grace: bool,
    ) {
        self.grants.push(client);
        self.held.insert(
            hash,
            Held { nonce, token, client, count: 1, until, extensions: 0, in_grace: grace, is_touched: false },
        );
    }

    /// Gives a resource that nobody holds to whoever is next. `caller` learns by the reply.
    fn hand_over(&mut self, hash: &Arc<str>, caller: Option<Client>, now: Moment) -> Option<HandOver> {
        while let Some(((_, nonce), waiter)) = self.queues.get_mut(hash).and_then(BTreeMap::pop_first) {
            let QueuedWaiter { client, lease: whole } = waiter;
            let alive = self.alive.get(&client).is_some_and(|until| now < *until);
            if !alive || !self.listening.contains(&client) {
                continue;
            }
            let token = self.next_token(now);
            let lease = whole.min(GRACE);
            self.grant(client, hash.clone(), nonce, now + lease, token, true);
            let hand_over = HandOver { nonce, token, lease };
            if caller == Some(client) {
                return Some(hand_over);
            }
            let event = StoreEvent::Granted { hash: hash.clone(), hand_over, at: time(now) };
            self.events.push((client, event));
            return None;
        }
        None
    }

    fn contention(&self, hash: &str, nonce: Option<Nonce>, now: Moment) -> Option<Contention> {
        let held = self.held.get(hash)?;
        let place = nonce.and_then(|nonce| {
            let queue = self.queues.get(hash)?;
            queue.keys().position(|(_, queued)| *queued == nonce)
        });
        let holder =
            Holder { nonce: held.nonce, token: Some(held.token), identity: Some(identity(held.client)) };
        Some(Contention {
            count: held.count,
            holder: Some(holder),
            lease_left: now.until(held.until),
            place: place.map(|place| place as u64 + 1),
        })
    }

    fn acquire(&mut self, client: Client, attempt: &Attempt, now: Moment) -> Reply {
        let Attempt { resource, nonce, lease, waits, .. } = attempt;
        let hash = resource.shared_hash();
        self.end_lease(&hash, now);
        if !self.held.contains_key(&hash) {
            self.hand_over(&hash, None, now);
        }
        match self.held.get_mut(&hash) {
            Some(held) if held.nonce == *nonce => {
                held.until = held.until.max(now + *lease);
                held.in_grace = false;
                return Reply::Granted(held.token);
            }
            Some(held) => {
                held.count += 1;
                held.in_grace &= !waits || held.client != client;
            }
            None => {
                let token = self.next_token(now);
                self.grant(client, hash, *nonce, now + *lease, token, false);
                return Reply::Granted(token);
            }
        }
        let ticket = waits.then(|| {
            let fresh = self.next_token(now);
            let queue = self.queues.entry(hash.clone()).or_default();
            let known = queue.keys().find(|(_, queued)| queued == nonce).map(|(ticket, _)| *ticket);
            let ticket = known.unwrap_or(fresh);
            queue.insert((ticket, *nonce), QueuedWaiter { client, lease: *lease });
            self.alive.insert(client, now + ALIVE);
            ticket
        });
        let contention = self.contention(&hash, Some(*nonce), now).unwrap();
        Reply::Contended { contention, ticket, time: time(now) }
    }

    fn poll(
        &mut self,
        client: Client,
        resource: &Resource,
        waiting: &[QueuedCall],
        last: bool,
        now: Moment,
    ) -> Reply {
        let hash = resource.shared_hash();
        self.end_lease(&hash, now);
        let (mut missing, mut hand_over) = (0, None);
        for &QueuedCall { nonce, lease, ticket } in waiting {
            if let Some(held) = self.held.get_mut(&hash).filter(|held| held.nonce == nonce) {
                held.until = held.until.max(now + lease);
                held.in_grace = false;
                hand_over = Some(HandOver { nonce, token: held.token, lease });
            } else {
                let queue = self.queues.entry(hash.clone()).or_default();
                if queue.insert((ticket, nonce), QueuedWaiter { client, lease }).is_none() {
                    missing += 1;
                }
            }
        }
        self.alive.insert(client, now + ALIVE);
        if !self.held.contains_key(&hash) {
            hand_over = self.hand_over(&hash, Some(client), now);
        }
        let contention = self.contention(&hash, None, now);
        let leaving = if last { waiting } else { &[] };
        let place = |call: &QueuedCall| self.contention(&hash, Some(call.nonce), now)?.place;
        let places = leaving.iter().map(place).collect();
        for call in leaving {
            if let Some(queue) = self.queues.get_mut(&hash) {
                queue.remove(&(call.ticket, call.nonce));
            }
        }
        Reply::Polled { missing, contention, hand_over, places, time: time(now) }
    }

    fn release(
        &mut self,
        client: Client,
        resource: &Resource,
        nonce: Nonce,
        queued: bool,
        is_untouched: bool,
        now: Moment,
    ) -> Reply {
        let hash = resource.shared_hash();
        self.end_lease(&hash, now);
        if self.held.get(&hash).is_none_or(|held| held.nonce != nonce) {
            if queued && let Some(queue) = self.queues.get_mut(&hash) {
                queue.retain(|(_, queued), _| *queued != nonce);
            }
            return Reply::Released { held: false, next: None };
        }
        let held = self.held.remove(&hash);
        assert!(!is_untouched || held.is_some_and(|held| !held.is_touched), "{hash} is not untouched");
        Reply::Released { held: true, next: self.hand_over(&hash, Some(client), now) }
    }

    fn renew(
        &mut self,
        resource: &Resource,
        nonce: Nonce,
        change: LeaseChange,
        extensions: u64,
        now: Moment,
    ) -> Reply {
        self.end_lease(resource.hash(), now);
        let Some(held) = self.held.get_mut(resource.hash()) else { return Reply::Renewed(Ownership::Gone) };
        if held.nonce != nonce {
            return Reply::Renewed(Ownership::Taken);
        }
        held.until = match change {
            LeaseChange::Check => held.until,
            LeaseChange::Exactly(lease) if extensions > held.extensions => now + lease,
            LeaseChange::Exactly(_) if extensions < held.extensions => held.until,
            LeaseChange::AtLeast(lease) | LeaseChange::Exactly(lease) => held.until.max(now + lease),
        };
        if change != LeaseChange::Check {
            held.extensions = held.extensions.max(extensions);
        }
        held.in_grace = false;
        held.is_touched = true;
        Reply::Renewed(Ownership::Held)
    }

    fn inspect(&mut self, resource: &Resource, now: Moment) -> Reply {
        self.end_lease(resource.hash(), now);
        let holding = self.contention(resource.hash(), None, now);
        let queue = self.queues.get(resource.hash()).into_iter().flatten();
        let waiters: Vec<_> = queue
            .map(|((ticket, _), waiter)| Waiter {
                since: Duration::from_micros(*ticket),
                identity: identity(waiter.client),
            })
            .collect();
        let known = holding.is_some() || !waiters.is_empty();
        Reply::Inspected(known.then_some(Inspection { holding, waiters }))
    }

    fn remove(&mut self, hash: &Arc<str>, now: Moment) -> bool {
        self.end_lease(hash, now);
        let Some(held) = self.held.remove(hash) else { return false };
        self.events.push((
            held.client,
            StoreEvent::Removed { hash: hash.clone(), nonce: held.nonce, token: Some(held.token) },
        ));
        self.hand_over(hash, None, now);
        true
    }
}
