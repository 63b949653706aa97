//! A store of locks in memory, with the results that the scripts give in Redis. The scripts are the reference.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use lock_inc_core::{
    Contention, Holder, Identity, Inspection, LeaseChange, Moment, Nonce, QueuedCall, Resource, Waiter,
    deadlines::Deadlines,
    store::{HandOver, Ownership, StoreEvent},
};

/// The longest lease that a lock begins with that was waited for: who has got it may hang, and is to ask for the rest.
const GRACE: Duration = Duration::from_secs(5);

/// One attempt to take a resource, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) nonce: Nonce,
    pub(crate) lease: Duration,
    /// Who is asking; kept for those who come later.
    pub(crate) identity: &'a Identity,
    /// Whether to join the queue if somebody else holds the resource.
    pub(crate) waits: bool,
    pub(crate) now: Now,
}

/// The moment of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) moment: Moment,
    /// The wall clock, as time since 1970. Only tokens and `since` come from it, never a deadline.
    pub(crate) clock: Duration,
}

/// What a claim that was turned away is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TurnedAway {
    pub(crate) contention: Contention,
    /// Its place in the order of arrival, if it waits.
    pub(crate) ticket: Option<u64>,
}

#[derive(Debug)]
struct Held {
    nonce: Nonce,
    token: u64,
    identity: Identity,
    count: u64,
    until: Moment,
}

impl Held {
    fn contention(&self, now: Moment) -> Contention {
        let holder =
            Holder { nonce: self.nonce, token: Some(self.token), identity: Some(self.identity.clone()) };
        Contention { count: self.count, holder: Some(holder), lease_left: now.until(self.until), place: None }
    }
}

#[derive(Clone, Debug)]
struct QueuedWaiter {
    nonce: Nonce,
    lease: Duration,
    identity: Identity,
}

/// Those who wait for a resource, in order of arrival.
#[derive(Debug, Default)]
struct Queue {
    by_ticket: BTreeMap<u64, QueuedWaiter>,
    tickets: HashMap<Nonce, u64>,
}

impl Queue {
    /// Puts a waiter in, unless it is there. Returns its ticket.
    fn join(&mut self, ticket: u64, waiter: QueuedWaiter) -> u64 {
        let ticket = *self.tickets.entry(waiter.nonce).or_insert(ticket);
        self.by_ticket.entry(ticket).or_insert(waiter);
        ticket
    }

    fn pop(&mut self) -> Option<QueuedWaiter> {
        let (_, waiter) = self.by_ticket.pop_first()?;
        self.tickets.remove(&waiter.nonce);
        Some(waiter)
    }

    fn remove(&mut self, nonce: Nonce) {
        if let Some(ticket) = self.tickets.remove(&nonce) {
            self.by_ticket.remove(&ticket);
        }
    }

    /// 1 for whoever is next.
    fn place(&self, nonce: Nonce) -> Option<u64> {
        let ticket = self.tickets.get(&nonce)?;
        Some(self.by_ticket.range(..=ticket).count() as u64)
    }

    fn is_empty(&self) -> bool {
        self.by_ticket.is_empty()
    }
}

/// What the table has done that the client it was done to is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) client: String,
    pub(crate) event: StoreEvent,
}

/// The locks of one prefix, and the queues of those who wait for them.
#[derive(Debug, Default)]
pub(crate) struct LockTable {
    held: HashMap<Arc<str>, Held>,
    queues: HashMap<Arc<str>, Queue>,
    deadlines: Deadlines<u64, Arc<str>>,
    /// The fence register: the last token given.
    last_token: u64,
    /// Who can be told of a grant. Nobody else gets one.
    clients: HashSet<String>,
    events: Vec<Told>,
}

impl LockTable {
    /// An empty table. `last_token`: its tokens are greater than this.
    pub(crate) fn after(last_token: u64) -> Self {
        Self { last_token, ..Self::default() }
    }

    /// From now on this client can be told of grants.
    pub(crate) fn enter(&mut self, client: &str) {
        self.clients.insert(client.into());
    }

    /// From now on it cannot. Its locks stay until their leases end.
    pub(crate) fn leave(&mut self, client: &str) {
        self.clients.remove(client);
    }

    /// The last token, where nothing is held and nobody waits: then that is all there is to know of the table.
    pub(crate) fn last_token_if_empty(&mut self, now: Now) -> Option<u64> {
        self.expire(now);
        (self.held.is_empty() && self.queues.is_empty()).then_some(self.last_token)
    }

    /// What is to be told to whom since the last time.
    pub(crate) fn take_events(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.events)
    }

    /// Takes the resource, or says who is in the way. The nonce that already holds it gets its token again.
    pub(crate) fn acquire(&mut self, claim: Claim) -> Result<u64, Box<TurnedAway>> {
        let Claim { resource, nonce, lease, now, .. } = claim;
        self.expire_and_hand_over(resource.hash(), now);
        if let Some(held) = self.held.get_mut(resource.hash()) {
            if held.nonce == nonce {
                let (token, until) = (held.token, held.until.max(now.moment + lease));
                self.set_lease(resource.hash(), until);
                return Ok(token);
            }
            held.count += 1;
            let mut contention = held.contention(now.moment);
            let ticket = claim.waits.then(|| self.join(claim));
            contention.place =
                ticket.and(self.queues.get(resource.hash())).map(|queue| queue.tickets.len() as u64);
            return Err(Box::new(TurnedAway { contention, ticket }));
        }
        let waiter = QueuedWaiter { nonce, lease, identity: claim.identity.clone() };
        Ok(self.grant(resource.shared_hash(), waiter, now))
    }

    /// The ticket of a claim that is in the queue from now on, or has been there.
    fn join(&mut self, Claim { resource, nonce, lease, identity, now, .. }: Claim) -> u64 {
        self.last_token = self.next_token(now);
        let queue = self.queues.entry(resource.shared_hash()).or_default();
        queue.join(self.last_token, QueuedWaiter { nonce, lease, identity: identity.clone() })
    }

    fn next_token(&self, now: Now) -> u64 {
        u64::try_from(now.clock.as_micros()).unwrap_or(0).max(self.last_token + 1)
    }

    fn grant(&mut self, hash: Arc<str>, waiter: QueuedWaiter, now: Now) -> u64 {
        let token = self.next_token(now);
        self.last_token = token;
        let QueuedWaiter { nonce, lease, identity } = waiter;
        let until = now.moment + lease;
        self.deadlines.insert(until, token, hash.clone());
        self.held.insert(hash, Held { nonce, token, identity, count: 1, until });
        token
    }

    fn expire(&mut self, now: Now) {
        while let Some((_, hash)) = self.deadlines.pop_ended(now.moment) {
            self.held.remove(&hash);
        }
    }

    /// Ends the leases that are over, and gives this resource, if it is free, to whoever waits for it.
    pub(crate) fn expire_and_hand_over(&mut self, hash: &str, now: Now) {
        self.expire(now);
        if self.held.contains_key(hash) {
            return;
        }
        let Some((hash, mut queue)) = self.queues.remove_entry(hash) else { return };
        while let Some(waiter) = queue.pop() {
            let client = waiter.identity.client.clone();
            if self.clients.contains(&client) {
                let (nonce, lease) = (waiter.nonce, waiter.lease.min(GRACE));
                let token = self.grant(hash.clone(), QueuedWaiter { lease, ..waiter }, now);
                let hand_over = HandOver { nonce, token, lease };
                let at = now.moment.since_start();
                let event = StoreEvent::Granted { hash: hash.clone(), hand_over, at };
                self.events.push(Told { client, event });
                break;
            }
        }
        if !queue.is_empty() {
            self.queues.insert(hash, queue);
        }
    }

    /// Looks after waiting calls of one client: puts those into the queue that are not there, and says who is in the
    /// way, if anybody is. With `last` they wait no more, and it also says which places they have left.
    pub(crate) fn poll(
        &mut self,
        resource: &Resource,
        waiting: &[QueuedCall],
        last: bool,
        identity: &Identity,
        now: Now,
    ) -> (Option<Contention>, Vec<Option<u64>>) {
        let hash = resource.hash();
        for &QueuedCall { nonce, lease, ticket } in waiting {
            if self.held.get(hash).is_none_or(|held| held.nonce != nonce) {
                let queue = self.queues.entry(resource.shared_hash()).or_default();
                queue.join(ticket, QueuedWaiter { nonce, lease, identity: identity.clone() });
            }
        }
        self.expire_and_hand_over(hash, now);
        let leaving = if last { waiting } else { &[] };
        let places = leaving.iter().map(|call| self.queues.get(hash)?.place(call.nonce)).collect();
        for call in leaving {
            self.withdraw(hash, call.nonce);
        }
        (self.held.get(hash).map(|held| held.contention(now.moment)), places)
    }

    /// The token of the lock that this nonce holds.
    pub(crate) fn token_of(&self, hash: &str, nonce: Nonce) -> Option<u64> {
        self.held.get(hash).filter(|held| held.nonce == nonce).map(|held| held.token)
    }

    fn withdraw(&mut self, hash: &str, nonce: Nonce) {
        let Some(queue) = self.queues.get_mut(hash) else { return };
        queue.remove(nonce);
        if queue.is_empty() {
            self.queues.remove(hash);
        }
    }

    /// Renews the lease, if this nonce holds the resource.
    pub(crate) fn renew(&mut self, hash: &str, nonce: Nonce, change: LeaseChange, now: Now) -> Ownership {
        self.expire_and_hand_over(hash, now);
        match self.held.get(hash) {
            Some(held) if held.nonce == nonce => {
                let until = match change {
                    LeaseChange::Check => held.until,
                    LeaseChange::AtLeast(lease) => held.until.max(now.moment + lease),
                    LeaseChange::Exactly(lease) => now.moment + lease,
                };
                self.set_lease(hash, until);
                Ownership::Held
            }
            Some(_) => Ownership::Taken,
            None => Ownership::Gone,
        }
    }

    /// Gives up what this nonce holds of the resource, or its place in the queue. Also how an attempt is cancelled.
    pub(crate) fn release(&mut self, hash: &str, nonce: Nonce, now: Now) -> bool {
        self.expire_and_hand_over(hash, now);
        self.withdraw(hash, nonce);
        let held = self.token_of(hash, nonce).is_some();
        if held {
            self.free(hash, now);
        }
        held
    }

    /// Takes the resource from its holder, and gives it to whoever waits.
    fn free(&mut self, hash: &str, now: Now) {
        if let Some(held) = self.held.remove(hash) {
            self.deadlines.remove(held.until, held.token);
            self.expire_and_hand_over(hash, now);
        }
    }

    /// Whether anybody holds the resource, as of the last [expiry](Self::expire_and_hand_over).
    pub(crate) fn is_locked(&self, hash: &str) -> bool {
        self.held.contains_key(hash)
    }

    /// Who holds the resource and who waits for it, as of the last [expiry](Self::expire_and_hand_over).
    pub(crate) fn inspect(&self, hash: &str, now: Now) -> Option<Inspection> {
        let holding = self.held.get(hash)?.contention(now.moment);
        let waiter = |(ticket, waiter): (&u64, &QueuedWaiter)| Waiter {
            since: Duration::from_micros(*ticket),
            identity: waiter.identity.clone(),
        };
        let waiters =
            self.queues.get(hash).into_iter().flat_map(|queue| &queue.by_ticket).map(waiter).collect();
        Some(Inspection { holding: Some(holding), waiters })
    }

    /// Takes the resource from whoever holds it, who is told; it goes to whoever waits. Whether anybody held it.
    pub(crate) fn remove(&mut self, hash: &str, now: Now) -> bool {
        self.expire_and_hand_over(hash, now);
        let Some((hash, held)) = self.held.get_key_value(hash) else { return false };
        let client = held.identity.client.clone();
        let event = StoreEvent::Removed { hash: hash.clone(), nonce: held.nonce, token: Some(held.token) };
        self.events.push(Told { client, event });
        let hash = hash.clone();
        self.free(&hash, now);
        true
    }

    /// Removes every lock. Tokens go on increasing.
    pub(crate) fn purge(&mut self, now: Now) {
        let hashes: Vec<_> = self.held.keys().cloned().collect();
        for hash in hashes {
            self.remove(&hash, now);
        }
    }

    fn set_lease(&mut self, hash: &str, until: Moment) {
        let Some(held) = self.held.get_mut(hash) else { return };
        let before = std::mem::replace(&mut held.until, until);
        self.deadlines.reschedule(before, until, held.token, hash.into());
    }
}

#[cfg(test)]
mod tests;
