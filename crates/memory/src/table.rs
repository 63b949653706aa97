//! A store of locks in memory, with the results that the scripts give in Redis. The scripts are the reference.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use lock_inc_core::{
    Contention, Holder, Holding, Identity, Inspection, LeaseChange, Mode, Moment, Nonce, QueuedCall,
    Resource, Terms, Waiter,
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
    pub(crate) terms: Terms,
    /// Who is asking; kept for those who come later.
    pub(crate) identity: &'a Identity,
    /// Whether to join the queue if somebody else holds the resource.
    pub(crate) waits: bool,
    /// Whether to take it from whoever holds it.
    pub(crate) steals: bool,
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
    until: Moment,
}

impl Held {
    fn holder(&self) -> Holder {
        Holder { nonce: self.nonce, token: Some(self.token), identity: Some(self.identity.clone()) }
    }
}

/// Who holds a resource: one, or those who share it. Never nobody.
#[derive(Debug)]
struct Holders {
    resource: Resource,
    by_nonce: BTreeMap<Nonce, Held>,
    mode: Mode,
    /// Attempts since somebody has held it without a break, that one included.
    count: u64,
}

impl Holders {
    fn fits(&self, mode: Mode) -> bool {
        mode.fits_beside(self.mode, self.by_nonce.len())
    }

    /// Who is in the way. `first`: of several, the one whose lease ends first, and not the last.
    fn contention(&self, first: bool, now: Moment) -> Contention {
        let held = self.by_nonce.values();
        let held =
            if first { held.min_by_key(|held| held.until) } else { held.max_by_key(|held| held.until) };
        let (holder, lease_left) = held.map(|held| (held.holder(), now.until(held.until))).unzip();
        Contention {
            count: self.count,
            holder,
            lease_left: lease_left.unwrap_or_default(),
            resource: None,
            place: None,
        }
    }
}

#[derive(Clone, Debug)]
struct QueuedWaiter {
    resource: Resource,
    nonce: Nonce,
    terms: Terms,
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

    /// The first one, if it is to be taken out.
    fn pop_if(&mut self, is_next: impl FnOnce(&QueuedWaiter) -> bool) -> Option<QueuedWaiter> {
        let first = self.by_ticket.first_entry().filter(|first| is_next(first.get()))?;
        let waiter = first.remove();
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
    held: HashMap<Arc<str>, Holders>,
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
        let Claim { resource, nonce, terms, now, .. } = claim;
        let hash = resource.hash();
        self.expire_and_hand_over(hash, now);
        if let Some(held) = self.held_by(hash, nonce) {
            let (token, until) = (held.token, held.until.max(now.moment + terms.lease));
            self.set_lease(hash, nonce, until);
            return Ok(token);
        }
        if claim.steals {
            self.rob(hash, true);
        }
        let others_wait = !claim.steals && self.queues.contains_key(hash);
        if let Some(holders) = self.held.get_mut(hash)
            && (others_wait || !holders.fits(terms.mode))
        {
            holders.count += 1;
            let mut contention = holders.contention(terms.mode.limit() > 0, now.moment);
            let ticket = claim.waits.then(|| self.join(claim));
            contention.place = ticket.and(self.queues.get(hash)).map(|queue| queue.tickets.len() as u64);
            return Err(Box::new(TurnedAway { contention, ticket }));
        }
        let waiter =
            QueuedWaiter { resource: resource.clone(), nonce, terms, identity: claim.identity.clone() };
        Ok(self.grant(resource.shared_hash(), waiter, now))
    }

    /// Takes all these resources, or says of one of them, by its place, who is in the way.
    pub(crate) fn acquire_all(&mut self, claims: &[Claim]) -> Result<Vec<u64>, (usize, Box<TurnedAway>)> {
        for (index, &claim) in claims.iter().enumerate() {
            let Claim { resource, nonce, terms, now, .. } = claim;
            let hash = resource.hash();
            self.expire_and_hand_over(hash, now);
            let is_free = self.held.get(hash).is_none_or(|holders| holders.fits(terms.mode));
            let is_mine = self.held_by(hash, nonce).is_some();
            if !is_mine && (!is_free || self.queues.contains_key(hash)) {
                return self.acquire(claim).map(|token| vec![token]).map_err(|refused| (index, refused));
            }
        }
        Ok(claims.iter().filter_map(|&claim| self.acquire(claim).ok()).collect())
    }

    /// The ticket of a claim that is in the queue from now on, or has been there.
    fn join(&mut self, Claim { resource, nonce, terms, identity, now, .. }: Claim) -> u64 {
        self.last_token = self.next_token(now);
        let queue = self.queues.entry(resource.shared_hash()).or_default();
        let (resource, identity) = (resource.clone(), identity.clone());
        queue.join(self.last_token, QueuedWaiter { resource, nonce, terms, identity })
    }

    fn next_token(&self, now: Now) -> u64 {
        u64::try_from(now.clock.as_micros()).unwrap_or(0).max(self.last_token + 1)
    }

    fn grant(&mut self, hash: Arc<str>, waiter: QueuedWaiter, now: Now) -> u64 {
        let token = self.next_token(now);
        self.last_token = token;
        let QueuedWaiter { resource, nonce, terms: Terms { lease, mode }, identity } = waiter;
        let until = now.moment + lease;
        self.deadlines.insert(until, token, hash.clone());
        let nobody = || Holders { resource, by_nonce: BTreeMap::new(), mode, count: 1 };
        let holders = self.held.entry(hash).or_insert_with(nobody);
        holders.by_nonce.insert(nonce, Held { nonce, token, identity, until });
        token
    }

    fn expire(&mut self, now: Now) {
        while let Some((token, hash)) = self.deadlines.pop_ended(now.moment) {
            let Some(holders) = self.held.get_mut(&hash) else { continue };
            holders.by_nonce.retain(|_, held| held.token != token);
            if holders.by_nonce.is_empty() {
                self.held.remove(&hash);
            }
        }
    }

    /// Ends the leases that are over, and gives this resource to those next in line that may have it now.
    pub(crate) fn expire_and_hand_over(&mut self, hash: &str, now: Now) {
        self.expire(now);
        let Some((hash, mut queue)) = self.queues.remove_entry(hash) else { return };
        loop {
            let is_gone = |waiter: &QueuedWaiter| !self.clients.contains(&waiter.identity.client);
            if queue.pop_if(is_gone).is_some() {
                continue;
            }
            let holders = self.held.get(&hash);
            let fits = |waiter: &QueuedWaiter| holders.is_none_or(|holders| holders.fits(waiter.terms.mode));
            let Some(waiter) = queue.pop_if(fits) else { break };
            let (nonce, client) = (waiter.nonce, waiter.identity.client.clone());
            let terms = Terms { lease: waiter.terms.lease.min(GRACE), ..waiter.terms };
            let token = self.grant(hash.clone(), QueuedWaiter { terms, ..waiter }, now);
            let hand_over = HandOver { nonce, token, lease: terms.lease };
            let since = Some(now.moment);
            let event = StoreEvent::Granted { hash: hash.clone(), hand_over, since };
            self.events.push(Told { client, event });
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
        for &QueuedCall { nonce, terms, ticket } in waiting {
            if self.held_by(hash, nonce).is_none() {
                let queue = self.queues.entry(resource.shared_hash()).or_default();
                let (resource, identity) = (resource.clone(), identity.clone());
                queue.join(ticket, QueuedWaiter { resource, nonce, terms, identity });
            }
        }
        self.expire_and_hand_over(hash, now);
        let leaving = if last { waiting } else { &[] };
        let places = leaving.iter().map(|call| self.queues.get(hash)?.place(call.nonce)).collect();
        self.withdraw(hash, leaving.iter().map(|call| call.nonce), now);
        (self.held.get(hash).map(|holders| holders.contention(true, now.moment)), places)
    }

    fn held_by(&self, hash: &str, nonce: Nonce) -> Option<&Held> {
        self.held.get(hash)?.by_nonce.get(&nonce)
    }

    /// The token of the lock that this nonce holds.
    pub(crate) fn token_of(&self, hash: &str, nonce: Nonce) -> Option<u64> {
        self.held_by(hash, nonce).map(|held| held.token)
    }

    /// Takes waiters out of the queue. When all of them have left, those behind them may be next.
    fn withdraw(&mut self, hash: &str, nonces: impl IntoIterator<Item = Nonce>, now: Now) {
        let Some(queue) = self.queues.get_mut(hash) else { return };
        for nonce in nonces {
            queue.remove(nonce);
        }
        if queue.is_empty() {
            self.queues.remove(hash);
        }
        self.expire_and_hand_over(hash, now);
    }

    /// Renews the lease, if this nonce holds the resource.
    pub(crate) fn renew(&mut self, hash: &str, nonce: Nonce, change: LeaseChange, now: Now) -> Ownership {
        self.expire_and_hand_over(hash, now);
        let Some(held) = self.held_by(hash, nonce) else {
            return if self.held.contains_key(hash) { Ownership::Taken } else { Ownership::Gone };
        };
        let until = match change {
            LeaseChange::Check => held.until,
            LeaseChange::AtLeast(lease) => held.until.max(now.moment + lease),
            LeaseChange::Exactly(lease) => now.moment + lease,
        };
        self.set_lease(hash, nonce, until);
        Ownership::Held
    }

    /// Gives up what this nonce holds of the resource, or its place in the queue. Also how an attempt is cancelled.
    pub(crate) fn release(&mut self, hash: &str, nonce: Nonce, now: Now) -> bool {
        self.expire_and_hand_over(hash, now);
        self.withdraw(hash, [nonce], now);
        let Some(holders) = self.held.get_mut(hash) else { return false };
        let Some(held) = holders.by_nonce.remove(&nonce) else { return false };
        if holders.by_nonce.is_empty() {
            self.held.remove(hash);
        }
        self.deadlines.remove(held.until, held.token);
        self.expire_and_hand_over(hash, now);
        true
    }

    /// Takes the resource from its holders, who are told. Whether there were any.
    fn rob(&mut self, hash: &str, stolen: bool) -> bool {
        let Some((hash, holders)) = self.held.remove_entry(hash) else { return false };
        for (nonce, held) in holders.by_nonce {
            self.deadlines.remove(held.until, held.token);
            let (hash, token) = (hash.clone(), Some(held.token));
            let event = StoreEvent::Removed { hash, nonce, token, stolen };
            self.events.push(Told { client: held.identity.client, event });
        }
        true
    }

    /// Whether anybody holds the resource, as of the last [expiry](Self::expire_and_hand_over).
    pub(crate) fn is_locked(&self, hash: &str) -> bool {
        self.held.contains_key(hash)
    }

    /// Who holds the resource and who waits for it, as of the last [expiry](Self::expire_and_hand_over).
    pub(crate) fn inspect(&self, hash: &str, now: Now) -> Option<Inspection> {
        let Holders { by_nonce, count, .. } = self.held.get(hash)?;
        let holding =
            |held: &Held| Holding { holder: Some(held.holder()), lease_left: now.moment.until(held.until) };
        let waiter = |(ticket, waiter): (&u64, &QueuedWaiter)| Waiter {
            since: Duration::from_micros(*ticket),
            mode: waiter.terms.mode,
            identity: waiter.identity.clone(),
        };
        let queue = self.queues.get(hash).into_iter().flat_map(|queue| &queue.by_ticket);
        let holders = by_nonce.values().map(holding).collect();
        Some(Inspection { holders, count: *count, waiters: queue.map(waiter).collect() })
    }

    /// All that is held and waited for.
    pub(crate) fn list(&mut self, now: Now) -> Vec<(Resource, Inspection)> {
        self.expire(now);
        let waited = self.queues.values().filter_map(|queue| queue.by_ticket.values().next());
        let waited = waited.map(|waiter| waiter.resource.clone());
        let held = self.held.values().map(|holders| holders.resource.clone());
        let all: HashSet<_> = held.chain(waited).collect();
        let look = |resource: Resource| {
            self.expire_and_hand_over(resource.hash(), now);
            let inspection = self.inspect(resource.hash(), now)?;
            Some((resource, inspection))
        };
        all.into_iter().filter_map(look).collect()
    }

    /// Takes the resource from whoever holds it, who is told; it goes to whoever waits. Whether anybody held it.
    pub(crate) fn remove(&mut self, hash: &str, now: Now) -> bool {
        self.expire_and_hand_over(hash, now);
        let removed = self.rob(hash, false);
        self.expire_and_hand_over(hash, now);
        removed
    }

    /// Removes every lock. Tokens go on increasing.
    pub(crate) fn purge(&mut self, now: Now) {
        let hashes: Vec<_> = self.held.keys().cloned().collect();
        for hash in hashes {
            self.remove(&hash, now);
        }
    }

    fn set_lease(&mut self, hash: &str, nonce: Nonce, until: Moment) {
        let held = self.held.get_mut(hash).and_then(|holders| holders.by_nonce.get_mut(&nonce));
        let Some(held) = held else { return };
        let before = std::mem::replace(&mut held.until, until);
        self.deadlines.reschedule(before, until, held.token, hash.into());
    }
}

#[cfg(test)]
mod tests;
