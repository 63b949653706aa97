//! One resource: who holds it, who waits for it, and what the commands do with that.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use lock_inc_core::{
    Contention, Holder, Holding, Inspection, LeaseChange, Mode, Moment, Nonce, QueuedCall, Resource, Terms,
    Waiter,
    store::{Attempt, HandOver, Ownership, StoreEvent},
};
use tokio::time::Instant;

use super::{Books, Caller, Client, GRACE, Reply, Taken, identity, time};

/// For so long after its last poll a client counts as alive.
const ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug)]
struct Held {
    nonce: Nonce,
    token: u64,
    client: Client,
    until: Moment,
    extensions: u64,
    /// The server has a record of it: it was handed over, or something has been asked about it since.
    has_record: bool,
    /// It has been renewed, or looked at.
    is_touched: bool,
}

impl Held {
    fn raise(&mut self, until: Moment) {
        self.until = self.until.max(until);
    }

    fn holder(&self) -> Holder {
        Holder { nonce: self.nonce, token: Some(self.token), identity: Some(identity(self.client)) }
    }
}

#[derive(Debug)]
struct QueuedWaiter {
    client: Client,
    terms: Terms,
}

/// What is known of a client with waiters.
#[derive(Clone, Copy, Debug)]
struct Signs {
    alive_until: Moment,
    /// The end of the first lease that it was handed last, while it has given no sign of life since.
    grant_ends: Option<Moment>,
}

#[derive(Debug)]
pub(super) struct Lock {
    resource: Resource,
    holders: BTreeMap<Nonce, Held>,
    /// Attempts since somebody has held it without a break.
    count: u64,
    queue: BTreeMap<(u64, Nonce), QueuedWaiter>,
    clients: HashMap<Client, Signs>,
}

/// What is asked about it from outside.
impl Lock {
    pub(super) fn new(resource: Resource) -> Self {
        Self { resource, holders: BTreeMap::new(), count: 0, queue: BTreeMap::new(), clients: HashMap::new() }
    }

    pub(super) fn holders(&self, now: Moment) -> impl Iterator<Item = Nonce> {
        self.holders.values().filter(move |held| now < held.until).map(|held| held.nonce)
    }

    pub(super) fn leases(&self, now: Moment) -> Vec<(u64, Duration)> {
        let running = self.holders.values().filter(|held| now < held.until);
        let mut leases: Vec<_> = running.map(|held| (held.token, now.until(held.until))).collect();
        leases.sort_unstable();
        leases
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn lose_queue(&mut self) {
        self.queue.clear();
    }

    pub(super) fn is_empty(&self, now: Moment) -> bool {
        let may_live = |waiter: &QueuedWaiter| {
            self.clients.get(&waiter.client).is_some_and(|signs| now < signs.alive_until)
        };
        self.holders(now).next().is_none() && !self.queue.values().any(may_live)
    }
}

/// What the commands have in common.
impl Lock {
    fn end_leases(&mut self, now: Moment) {
        self.holders.retain(|_, held| now < held.until);
    }

    /// Whether those who hold it let another one in.
    fn fits(&self, nonce: Nonce, mode: Mode) -> bool {
        let (count, limit) = (self.holders.len(), mode.limit() as usize);
        let is_shared = nonce.is_shared() && self.holders.keys().all(|holder| holder.is_shared());
        count == 0 || is_shared && (limit == 0 || count < limit)
    }

    fn next_fits(&self) -> bool {
        let next = self.queue.first_key_value();
        next.is_some_and(|((_, nonce), waiter)| self.fits(*nonce, waiter.terms.mode))
    }

    fn is_shared(&self) -> bool {
        !self.holders.is_empty() && self.holders.keys().all(|holder| holder.is_shared())
    }

    fn let_in(
        &mut self,
        books: &mut Books,
        nonce: Nonce,
        client: Client,
        until: Moment,
        token: u64,
        has_record: bool,
    ) {
        if self.holders.is_empty() {
            self.count = 1;
        }
        books.grants.push((client, token, nonce));
        let held = Held { nonce, token, client, until, extensions: 0, has_record, is_touched: false };
        self.holders.insert(nonce, held);
    }

    /// Puts a call into the queue. `false` if it has been there.
    fn join(&mut self, nonce: Nonce, ticket: u64, client: Client, terms: Terms) -> bool {
        let is_new = self.ticket(nonce).is_none();
        if is_new {
            self.queue.insert((ticket, nonce), QueuedWaiter { client, terms });
        }
        is_new
    }

    fn ticket(&self, nonce: Nonce) -> Option<u64> {
        self.queue.keys().find(|(_, queued)| *queued == nonce).map(|(ticket, _)| *ticket)
    }

    /// Takes a call out of the queue. Whether it was there.
    fn leave(&mut self, nonce: Nonce) -> bool {
        let ticket = self.ticket(nonce);
        ticket.is_some_and(|ticket| self.queue.remove(&(ticket, nonce)).is_some())
    }

    fn mark_alive(&mut self, by: Caller) {
        self.clients.insert(by.client, Signs { alive_until: by.now + ALIVE, grant_ends: None });
    }

    fn heard_from(&mut self, client: Client) {
        if let Some(signs) = self.clients.get_mut(&client) {
            signs.grant_ends = None;
        }
    }

    /// One that has let the first lease end without a sign of life hangs.
    fn is_alive(&self, client: Client, now: Moment) -> bool {
        let signs = self.clients.get(&client);
        signs.is_some_and(|signs| now < signs.alive_until && signs.grant_ends.is_none_or(|ends| now < ends))
    }

    /// Gives it to the first waiter that lives, if it fits, and if that one shares it, to those behind it that fit. Returns
    /// what `caller` learns by the reply.
    fn hand_over(&mut self, books: &mut Books, caller: Option<Client>, now: Moment) -> Vec<HandOver> {
        let mut mine = Vec::new();
        while let Some(((ticket, nonce), waiter)) = self.queue.pop_first() {
            let QueuedWaiter { client, terms } = waiter;
            if !self.is_alive(client, now) {
                continue;
            }
            if !self.fits(nonce, terms.mode) {
                self.queue.insert((ticket, nonce), waiter);
                break;
            }
            if caller != Some(client) && !books.listening.contains(&client) {
                continue;
            }
            let (token, lease) = (books.next_token(now), terms.lease.min(GRACE));
            self.let_in(books, nonce, client, now + lease, token, true);
            if let Some(signs) = self.clients.get_mut(&client) {
                signs.grant_ends = Some(now + lease);
            }
            let hand_over = HandOver { nonce, token, lease };
            if caller == Some(client) {
                mine.push(hand_over);
            } else {
                let event =
                    StoreEvent::Granted { hash: self.resource.shared_hash(), hand_over, since: Some(now) };
                books.events.push((client, event));
            }
            if !nonce.is_shared() {
                break;
            }
        }
        mine
    }

    /// A lock is over, or one of those who share it has gone.
    fn give_on(&mut self, books: &mut Books, caller: Option<Client>, now: Moment) -> Vec<HandOver> {
        if self.next_fits() { self.hand_over(books, caller, now) } else { Vec::new() }
    }

    /// Waiters have left: those behind them may share the lock.
    fn pass_on(&mut self, books: &mut Books, now: Moment) {
        self.end_leases(now);
        if self.is_shared() {
            self.give_on(books, None, now);
        }
    }

    /// `first`: of several, the one whose lease ends first, and not the last.
    fn in_the_way(&self, first: bool, place: Option<usize>, now: Moment) -> Option<Contention> {
        let held = self.holders.values();
        let held =
            if first { held.min_by_key(|held| held.until) } else { held.max_by_key(|held| held.until) }?;
        Some(Contention {
            count: self.count,
            holder: Some(held.holder()),
            lease_left: now.until(held.until),
            resource: None,
            place: place.map(|place| place as u64),
        })
    }

    /// A holder loses it. It is told the token where there is a record.
    fn take_from(&mut self, books: &mut Books, held: &Held, stolen: bool) {
        self.heard_from(held.client);
        books.taken.insert(held.token, Taken { until: held.until, at: Instant::now() });
        let (hash, token) = (self.resource.shared_hash(), held.has_record.then_some(held.token));
        books.events.push((held.client, StoreEvent::Removed { hash, nonce: held.nonce, token, stolen }));
    }
}

/// The commands.
impl Lock {
    pub(super) fn acquire(&mut self, books: &mut Books, by: Caller, attempt: &Attempt) -> Reply {
        let &Attempt { nonce, terms, waits, .. } = attempt;
        let Caller { client, now } = by;
        if self.lets_in(books, by, attempt) {
            return Reply::Granted(self.take(books, by, attempt));
        }
        let ticket = waits.then(|| {
            let ticket = self.ticket(nonce).unwrap_or_else(|| books.next_token(now));
            self.join(nonce, ticket, client, terms);
            self.mark_alive(by);
            ticket
        });
        let contention = self.refuse(by, attempt, ticket.map(|_| self.queue.len()));
        Reply::Contended { contention, ticket, time: time(now) }
    }

    /// Whether it may have the lock now, or has it.
    pub(super) fn lets_in(&mut self, books: &mut Books, by: Caller, attempt: &Attempt) -> bool {
        let &Attempt { nonce, terms, .. } = attempt;
        self.end_leases(by.now);
        if self.next_fits() {
            self.hand_over(books, None, by.now);
        }
        let nobody_is_first = self.queue.is_empty() || self.holders.is_empty();
        self.holders.contains_key(&nonce) || nobody_is_first && self.fits(nonce, terms.mode)
    }

    /// One that is [let in](Self::lets_in) takes it. Sent again, it has its token, and a full lease.
    pub(super) fn take(&mut self, books: &mut Books, by: Caller, attempt: &Attempt) -> u64 {
        let &Attempt { nonce, terms, waits, .. } = attempt;
        let Caller { client, now } = by;
        if let Some(held) = self.holders.get_mut(&nonce) {
            held.raise(now + terms.lease);
            let token = held.token;
            if waits {
                self.heard_from(client);
            }
            return token;
        }
        let token = books.next_token(now);
        self.let_in(books, nonce, client, now + terms.lease, token, false);
        token
    }

    pub(super) fn refuse(&mut self, by: Caller, attempt: &Attempt, place: Option<usize>) -> Contention {
        self.count += 1;
        self.in_the_way(attempt.terms.mode.limit() > 0, place, by.now).unwrap()
    }

    pub(super) fn steal(
        &mut self,
        books: &mut Books,
        by: Caller,
        attempt: &Attempt,
        from: &[Nonce],
    ) -> Reply {
        let &Attempt { nonce, terms, .. } = attempt;
        let Caller { client, now } = by;
        self.end_leases(now);
        if let Some(held) = self.holders.get_mut(&nonce) {
            held.raise(now + terms.lease);
            return Reply::Granted(held.token);
        }
        if !self.holders.keys().all(|holder| from.contains(holder)) {
            return Reply::NotStolen;
        }
        let robbed = std::mem::take(&mut self.holders);
        let token = books.next_token(now);
        self.let_in(books, nonce, client, now + terms.lease, token, false);
        for held in robbed.values() {
            self.take_from(books, held, true);
        }
        Reply::Granted(token)
    }

    pub(super) fn poll(
        &mut self,
        books: &mut Books,
        by: Caller,
        waiting: &[QueuedCall],
        last: bool,
    ) -> Reply {
        let Caller { client, now } = by;
        self.end_leases(now);
        let (mut missing, mut hand_overs) = (0, Vec::new());
        for &QueuedCall { nonce, terms, ticket } in waiting {
            if let Some(held) = self.holders.get_mut(&nonce) {
                held.raise(now + terms.lease);
                hand_overs.push(HandOver { nonce, token: held.token, lease: terms.lease });
                self.heard_from(client);
            } else if self.join(nonce, ticket, client, terms) {
                missing += 1;
            }
        }
        if !self.queue.is_empty() {
            self.mark_alive(by);
        }
        if self.holders.is_empty() || self.is_shared() {
            hand_overs.extend(self.hand_over(books, Some(client), now));
        }
        let place = |call: &QueuedCall| {
            let place = self.queue.keys().position(|(_, queued)| *queued == call.nonce)?;
            Some(place as u64 + 1)
        };
        let leaving = if last { waiting } else { &[] };
        let places = leaving.iter().map(place).collect();
        if last {
            for call in leaving {
                self.leave(call.nonce);
            }
            self.pass_on(books, now);
        }
        let contention = self.in_the_way(true, None, now);
        Reply::Polled { missing, contention, hand_overs, places, time: time(now) }
    }

    pub(super) fn release(
        &mut self,
        books: &mut Books,
        by: Caller,
        nonce: Nonce,
        queued: bool,
        is_untouched: bool,
    ) -> Reply {
        let Caller { client, now } = by;
        self.end_leases(now);
        self.heard_from(client);
        let Some(held) = self.holders.remove(&nonce) else {
            if queued && self.leave(nonce) {
                self.pass_on(books, now);
            }
            return Reply::Released { held: false, next: Vec::new() };
        };
        assert!(!(is_untouched && held.is_touched), "{} is not untouched", self.resource.name());
        Reply::Released { held: true, next: self.give_on(books, Some(client), now) }
    }

    pub(super) fn renew(&mut self, by: Caller, nonce: Nonce, change: LeaseChange, extensions: u64) -> Reply {
        let now = by.now;
        self.end_leases(now);
        let Some(held) = self.holders.get_mut(&nonce) else {
            return Reply::Renewed(if self.holders.is_empty() { Ownership::Gone } else { Ownership::Taken });
        };
        held.until = match change {
            LeaseChange::Check => held.until,
            LeaseChange::Exactly(lease) if extensions > held.extensions => now + lease,
            LeaseChange::Exactly(_) if extensions < held.extensions => held.until,
            LeaseChange::AtLeast(lease) | LeaseChange::Exactly(lease) => held.until.max(now + lease),
        };
        if change != LeaseChange::Check {
            held.extensions = held.extensions.max(extensions);
        }
        held.has_record = true;
        held.is_touched = true;
        self.heard_from(by.client);
        Reply::Renewed(Ownership::Held)
    }

    pub(super) fn inspect(&mut self, now: Moment) -> Option<Inspection> {
        self.end_leases(now);
        let holding =
            |held: &Held| Holding { holder: Some(held.holder()), lease_left: now.until(held.until) };
        let waiter = |((ticket, _), waiter): (&(u64, Nonce), &QueuedWaiter)| Waiter {
            since: Duration::from_micros(*ticket),
            mode: waiter.terms.mode,
            identity: identity(waiter.client),
        };
        let holders: Vec<_> = self.holders.values().map(holding).collect();
        let count = if holders.is_empty() { 0 } else { self.count };
        let waiters: Vec<_> = self.queue.iter().map(waiter).collect();
        let known = !(holders.is_empty() && waiters.is_empty());
        known.then_some(Inspection { holders, count, waiters })
    }

    pub(super) fn list(&mut self, now: Moment) -> Option<(Resource, Inspection)> {
        self.inspect(now).map(|inspection| (self.resource.clone(), inspection))
    }

    pub(super) fn remove(&mut self, books: &mut Books, now: Moment) -> bool {
        self.end_leases(now);
        let removed = std::mem::take(&mut self.holders);
        for held in removed.values() {
            self.take_from(books, held, false);
        }
        self.give_on(books, None, now);
        !removed.is_empty()
    }
}
