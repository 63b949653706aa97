//! A store of locks in memory, with the results that the scripts give in Redis.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Contention, Holder, Identity, Inspection, Moment, Nonce, Queued, Renewing, Resource, Waiter,
    deadlines::Deadlines,
};

/// One attempt to take a resource, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub resource: &'a Resource,
    pub nonce: Nonce,
    pub lease: Duration,
    /// Who is asking; kept for those who come later.
    pub identity: &'a Identity,
    /// Whether to join the queue if somebody else holds the resource.
    pub waits: bool,
    pub now: Now,
}

/// The moment of a call.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub moment: Moment,
    /// The wall clock, as time since 1970. Only tokens and `since` come from it, never a deadline.
    pub clock: Duration,
}

/// What a claim that was turned away is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnedAway {
    pub contention: Contention,
    /// Its place in the order of arrival, if it waits.
    pub ticket: Option<u64>,
}

#[derive(Debug)]
struct Held {
    nonce: Nonce,
    token: u64,
    since: Duration,
    identity: Identity,
    count: u64,
    until: Moment,
}

impl Held {
    fn contention(&self, now: Moment) -> Contention {
        let Self { nonce, token, since, .. } = *self;
        let holder = Holder { nonce, token, since, identity: self.identity.clone() };
        Contention { count: self.count, holder: Some(holder), lease_left: now.until(self.until), place: None }
    }
}

#[derive(Clone, Debug)]
struct InQueue {
    nonce: Nonce,
    lease: Duration,
    identity: Identity,
}

/// Those who wait for a resource, in order of arrival.
#[derive(Debug, Default)]
struct Queue {
    by_ticket: BTreeMap<u64, InQueue>,
    tickets: HashMap<Nonce, u64>,
}

impl Queue {
    /// Puts a waiter in, unless it is there. Returns its ticket.
    fn join(&mut self, ticket: u64, waiter: InQueue) -> u64 {
        let ticket = *self.tickets.entry(waiter.nonce).or_insert(ticket);
        self.by_ticket.entry(ticket).or_insert(waiter);
        ticket
    }

    fn pop(&mut self) -> Option<InQueue> {
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

/// How a nonce stands to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Held,
    /// Nobody holds it: the lock expired or was removed.
    Gone,
    /// Somebody else holds it.
    Taken,
}

/// What the table has done that the client it was done to is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub client: String,
    pub hash: Arc<str>,
    pub token: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Its lock was taken from it.
    Removed,
    /// Its waiting call has got the lock, for this lease from now on.
    Granted { nonce: Nonce, lease: Duration },
}

/// The locks of one prefix, and the queues of those who wait for them.
#[derive(Debug, Default)]
pub struct LockTable {
    held: HashMap<Arc<str>, Held>,
    queues: HashMap<Arc<str>, Queue>,
    deadlines: Deadlines,
    /// The fence register: the last token given.
    last_token: u64,
    /// Who can be told of a grant. Nobody else gets one.
    clients: HashSet<String>,
    news: Vec<News>,
}

impl LockTable {
    /// From now on this client can be told of grants.
    pub fn enter(&mut self, client: &str) {
        self.clients.insert(client.into());
    }

    /// From now on it cannot. Its locks stay until their leases end.
    pub fn leave(&mut self, client: &str) {
        self.clients.remove(client);
    }

    /// What is to be told to whom since the last time.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Takes the resource, or says who is in the way. The nonce that already holds it gets its token again.
    pub fn acquire(&mut self, claim: Claim) -> Result<u64, Box<TurnedAway>> {
        let Claim { resource, nonce, lease, now, .. } = claim;
        self.settle(resource.hash(), now);
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
        let waiter = InQueue { nonce, lease, identity: claim.identity.clone() };
        Ok(self.grant(resource.shared_hash(), waiter, now))
    }

    /// The ticket of a claim that is in the queue from now on, or has been there.
    fn join(&mut self, Claim { resource, nonce, lease, identity, now, .. }: Claim) -> u64 {
        self.last_token = self.next_token(now);
        let queue = self.queues.entry(resource.shared_hash()).or_default();
        queue.join(self.last_token, InQueue { nonce, lease, identity: identity.clone() })
    }

    fn next_token(&self, now: Now) -> u64 {
        u64::try_from(now.clock.as_micros()).unwrap_or(0).max(self.last_token + 1)
    }

    fn grant(&mut self, hash: Arc<str>, waiter: InQueue, now: Now) -> u64 {
        let token = self.next_token(now);
        self.last_token = token;
        let InQueue { nonce, lease, identity } = waiter;
        let (until, since) = (now.moment + lease, Duration::from_micros(token));
        self.deadlines.insert(until, token, hash.clone());
        self.held.insert(hash, Held { nonce, token, since, identity, count: 1, until });
        token
    }

    /// Ends the leases that are over, and gives this resource, if it is free, to whoever waits for it.
    fn settle(&mut self, hash: &str, now: Now) {
        while let Some((hash, _)) = self.deadlines.pop_ended(now.moment) {
            self.held.remove(&hash);
        }
        if self.held.contains_key(hash) {
            return;
        }
        let Some((hash, mut queue)) = self.queues.remove_entry(hash) else { return };
        while let Some(waiter) = queue.pop() {
            let client = waiter.identity.client.clone();
            if self.clients.contains(&client) {
                let what = What::Granted { nonce: waiter.nonce, lease: waiter.lease };
                let token = self.grant(hash.clone(), waiter, now);
                self.news.push(News { client, hash: hash.clone(), token, what });
                break;
            }
        }
        if !queue.is_empty() {
            self.queues.insert(hash, queue);
        }
    }

    /// Looks after waiting calls of one client: puts those into the queue that are not there, and says who is in the
    /// way, if anybody is. With `last`, the first of them waits no more; its place is the one it had.
    pub fn poll(
        &mut self,
        resource: &Resource,
        waiting: &[Queued],
        last: bool,
        identity: &Identity,
        now: Now,
    ) -> Option<Contention> {
        let hash = resource.hash();
        for &Queued { nonce, lease, ticket } in waiting {
            if self.held.get(hash).is_none_or(|held| held.nonce != nonce) {
                let queue = self.queues.entry(resource.shared_hash()).or_default();
                queue.join(ticket, InQueue { nonce, lease, identity: identity.clone() });
            }
        }
        self.settle(hash, now);
        let first = waiting.first().map(|first| first.nonce);
        let place = first.and_then(|first| self.queues.get(hash)?.place(first));
        if let (true, Some(first)) = (last, first) {
            self.withdraw(hash, first);
        }
        let contention = self.held.get(hash)?.contention(now.moment);
        Some(Contention { place, ..contention })
    }

    /// The token of the lock that this nonce holds.
    pub fn token_of(&self, hash: &str, nonce: Nonce) -> Option<u64> {
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
    pub fn renew(&mut self, hash: &str, nonce: Nonce, renewing: Renewing, now: Now) -> Standing {
        self.settle(hash, now);
        match self.held.get(hash) {
            Some(held) if held.nonce == nonce => {
                let until = match renewing {
                    Renewing::Look => held.until,
                    Renewing::Raise(lease) => held.until.max(now.moment + lease),
                    Renewing::Set(lease) => now.moment + lease,
                };
                self.set_lease(hash, until);
                Standing::Held
            }
            Some(_) => Standing::Taken,
            None => Standing::Gone,
        }
    }

    /// Gives up what this nonce holds of the resource, or its place in the queue. Also how an attempt is cancelled.
    pub fn release(&mut self, hash: &str, nonce: Nonce, now: Now) -> bool {
        self.settle(hash, now);
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
            self.settle(hash, now);
        }
    }

    pub fn is_locked(&mut self, hash: &str, now: Now) -> bool {
        self.settle(hash, now);
        self.held.contains_key(hash)
    }

    /// Who holds the resource and who waits for it, as somebody sees it who does not want it.
    pub fn inspect(&mut self, hash: &str, now: Now) -> Option<Inspection> {
        self.settle(hash, now);
        let holding = self.held.get(hash)?.contention(now.moment);
        let waiter = |(ticket, waiter): (&u64, &InQueue)| Waiter {
            since: Duration::from_micros(*ticket),
            identity: waiter.identity.clone(),
        };
        let waiters =
            self.queues.get(hash).into_iter().flat_map(|queue| &queue.by_ticket).map(waiter).collect();
        Some(Inspection { holding: Some(holding), waiters })
    }

    /// Takes the resource from whoever holds it, who is told; it goes to whoever waits. Whether anybody held it.
    pub fn remove(&mut self, hash: &str, now: Now) -> bool {
        self.settle(hash, now);
        let Some((hash, held)) = self.held.get_key_value(hash) else { return false };
        let client = held.identity.client.clone();
        self.news.push(News { client, hash: hash.clone(), token: held.token, what: What::Removed });
        let hash = hash.clone();
        self.free(&hash, now);
        true
    }

    /// Removes every lock. Tokens go on increasing.
    pub fn purge(&mut self, now: Now) {
        let hashes: Vec<_> = self.held.keys().cloned().collect();
        for hash in hashes {
            self.remove(&hash, now);
        }
    }

    fn set_lease(&mut self, hash: &str, until: Moment) {
        let Some(held) = self.held.get_mut(hash) else { return };
        let before = std::mem::replace(&mut held.until, until);
        self.deadlines.remove(before, held.token);
        self.deadlines.insert(until, held.token, hash.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::core::Nonces;

    const CLOCK: Duration = Duration::from_secs(1_700_000_000);

    static IDENTITY: LazyLock<Identity> =
        LazyLock::new(|| Identity { client: "c".into(), pid: 1, host: "h".into() });

    fn claim(resource: &Resource, nonce: Nonce, lease: u64, moment: Moment, clock: Duration) -> Claim<'_> {
        let lease = Duration::from_millis(lease);
        Claim { resource, nonce, lease, identity: &IDENTITY, waits: false, now: Now { moment, clock } }
    }

    fn at(moment: Moment) -> Now {
        Now { moment, clock: CLOCK }
    }

    #[test]
    fn contenders_are_counted_from_the_grant_on() {
        let (mut table, nonces, now) = (LockTable::default(), Nonces::new(7), Moment::now());
        let resource = Resource::new("a");
        let token = table.acquire(claim(&resource, nonces.next(), 100, now, CLOCK)).unwrap();
        for count in 2..5 {
            let refused = table.acquire(claim(&resource, nonces.next(), 100, now, CLOCK)).unwrap_err();
            let contention = refused.contention;
            assert_eq!(contention.count, count);
            assert_eq!(contention.holder.unwrap().token, token);
            assert_eq!(contention.lease_left, Duration::from_millis(100));
        }
    }

    #[test]
    fn tokens_increase_when_the_clock_steps_back_and_over_a_purge() {
        let (mut table, nonces, now) = (LockTable::default(), Nonces::new(7), Moment::now());
        let resource = Resource::new("a");
        let first = table.acquire(claim(&resource, nonces.next(), 100, now, CLOCK)).unwrap();
        table.purge(at(now));
        assert_eq!(table.take_news().len(), 1);
        let second = table.acquire(claim(&resource, nonces.next(), 100, now, CLOCK / 2)).unwrap();
        assert!(second > first);
    }

    #[test]
    fn whoever_waits_has_a_turn_in_order_of_arrival_if_it_can_be_told() {
        let (mut table, nonces, now) = (LockTable::default(), Nonces::new(7), Moment::now());
        let resource = Resource::new("a");
        table.enter("c");
        let mut waiting = Vec::new();
        let gone = Identity { client: "gone".into(), ..IDENTITY.clone() };
        let first = nonces.next();
        table.acquire(claim(&resource, first, 100, now, CLOCK)).unwrap();
        for (identity, place) in [(&*IDENTITY, 1), (&gone, 2), (&IDENTITY, 3)] {
            let nonce = nonces.next();
            let wait = Claim { waits: true, identity, ..claim(&resource, nonce, 100, now, CLOCK) };
            let refused = table.acquire(wait).unwrap_err();
            assert_eq!(refused.contention.place, Some(place));
            // Sent again, it keeps its place.
            assert_eq!(table.acquire(wait).unwrap_err().ticket, refused.ticket);
            waiting.push(nonce);
        }
        let waiters = table.inspect(resource.hash(), at(now)).unwrap().waiters;
        let clients: Vec<_> = waiters.iter().map(|waiter| &*waiter.identity.client).collect();
        assert_eq!(clients, ["c", "gone", "c"]);
        for (holder, next) in [(first, waiting[0]), (waiting[0], waiting[2])] {
            assert!(table.release(resource.hash(), holder, at(now)));
            let news = table.take_news();
            assert_eq!(news.len(), 1);
            let lease = Duration::from_millis(100);
            assert_eq!((&*news[0].client, &news[0].what), ("c", &What::Granted { nonce: next, lease }));
            assert_eq!(table.token_of(resource.hash(), next), Some(news[0].token));
        }
        assert!(table.release(resource.hash(), waiting[2], at(now)));
        assert_eq!(table.inspect(resource.hash(), at(now)), None);
        assert!(table.held.is_empty() && table.queues.is_empty() && table.deadlines.first().is_none());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Acquire {
            resource: usize,
            lease: u64,
            waits: bool,
        },
        Again {
            attempt: usize,
        },
        /// Also cancels an attempt that waits.
        Release {
            attempt: usize,
        },
        Renew {
            attempt: usize,
            renewing: Renewing,
        },
        Poll {
            attempt: usize,
            last: bool,
        },
        Wait(u64),
        Purge,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0usize..3, 1u64..50, any::<bool>())
                .prop_map(|(resource, lease, waits)| Step::Acquire { resource, lease, waits }),
            1 => (0usize..20).prop_map(|attempt| Step::Again { attempt }),
            3 => (0usize..20).prop_map(|attempt| Step::Release { attempt }),
            1 => (0usize..20, any::<bool>()).prop_map(|(attempt, last)| Step::Poll { attempt, last }),
            2 => (0usize..20, 1u64..50, any::<bool>()).prop_map(|(attempt, lease, set)| {
                let lease = Duration::from_millis(lease);
                let renewing = if set { Renewing::Set(lease) } else { Renewing::Raise(lease) };
                Step::Renew { attempt, renewing }
            }),
            2 => (0u64..30).prop_map(Step::Wait),
            1 => Just(Step::Purge),
        ]
    }

    /// What the model knows of an attempt.
    #[derive(Clone, Copy)]
    struct Tried {
        resource: usize,
        nonce: Nonce,
        lease: Duration,
        waits: bool,
        ticket: Option<u64>,
    }

    #[derive(Default)]
    struct Model {
        /// The attempt that holds the resource, and until when.
        grant: Option<(usize, Moment)>,
        queue: Vec<usize>,
    }

    impl Model {
        fn settle(&mut self, tried: &[Tried], now: Moment) {
            if self.grant.is_some_and(|(_, until)| until <= now) {
                self.grant = None;
            }
            if self.grant.is_none() && !self.queue.is_empty() {
                let next = self.queue.remove(0);
                self.grant = Some((next, now + tried[next].lease));
            }
        }

        fn holds(&self, attempt: usize) -> bool {
            self.grant.is_some_and(|(holder, _)| holder == attempt)
        }
    }

    proptest! {
        /// Against a model that knows whose turn it is: one holder at a time, whose nonce alone can release it or see
        /// its token again; whoever waits has a turn in order of arrival; and tokens only grow.
        #[test]
        fn one_holder_at_a_time_in_order_of_arrival_and_growing_tokens(
            steps in prop::collection::vec(step(), 1..80),
        ) {
            let (mut table, nonces) = (LockTable::default(), Nonces::new(3));
            table.enter("c");
            let mut now = Moment::now();
            let resources = ["a", "b", "c"].map(Resource::new);
            let mut tried: Vec<Tried> = Vec::new();
            let mut models: [Model; 3] = Default::default();
            let mut last_token = [0; 3];
            for step in steps {
                for (model, resource) in models.iter_mut().zip(&resources) {
                    model.settle(&tried, now);
                    table.is_locked(resource.hash(), at(now));
                }
                match step {
                    Step::Wait(ms) => now = now + Duration::from_millis(ms),
                    Step::Purge => {
                        table.purge(at(now));
                        for model in models.iter_mut().filter(|model| model.grant.is_some()) {
                            model.grant = None;
                            model.settle(&tried, now);
                        }
                    }
                    Step::Release { attempt } => {
                        let Some(&Tried { resource, nonce, .. }) = tried.get(attempt) else { continue };
                        let model = &mut models[resource];
                        let mine = model.holds(attempt);
                        prop_assert_eq!(table.release(resources[resource].hash(), nonce, at(now)), mine);
                        model.queue.retain(|waiting| *waiting != attempt);
                        if mine {
                            model.grant = None;
                            model.settle(&tried, now);
                        }
                    }
                    Step::Renew { attempt, renewing } => {
                        let Some(&Tried { resource, nonce, .. }) = tried.get(attempt) else { continue };
                        let standing = table.renew(resources[resource].hash(), nonce, renewing, at(now));
                        prop_assert_eq!(standing, match &mut models[resource].grant {
                            Some((holder, until)) if *holder == attempt => {
                                *until = match renewing {
                                    Renewing::Set(lease) => now + lease,
                                    Renewing::Raise(lease) => (*until).max(now + lease),
                                    Renewing::Look => *until,
                                };
                                Standing::Held
                            }
                            Some(_) => Standing::Taken,
                            None => Standing::Gone,
                        });
                    }
                    Step::Poll { attempt, last } => {
                        let Some(&Tried { resource, nonce, lease, ticket: Some(ticket), .. }) = tried.get(attempt)
                        else { continue };
                        let model = &mut models[resource];
                        // One that has been given up comes back with its poll, to its old place.
                        if !model.holds(attempt) && !model.queue.contains(&attempt) {
                            model.queue.push(attempt);
                            model.queue.sort_by_key(|waiting| tried[*waiting].ticket);
                        }
                        model.settle(&tried, now);
                        let place = model.queue.iter().position(|waiting| *waiting == attempt);
                        if last {
                            model.queue.retain(|waiting| *waiting != attempt);
                        }
                        let waiting = [Queued { nonce, lease, ticket }];
                        let found = table.poll(&resources[resource], &waiting, last, &IDENTITY, at(now));
                        prop_assert_eq!(found.and_then(|found| found.place), place.map(|place| place as u64 + 1));
                    }
                    Step::Acquire { .. } | Step::Again { .. } => {
                        let attempt = match step {
                            Step::Again { attempt } if attempt < tried.len() => attempt,
                            Step::Acquire { resource, lease, waits } => {
                                let lease = Duration::from_millis(lease);
                                tried.push(Tried { resource, nonce: nonces.next(), lease, waits, ticket: None });
                                tried.len() - 1
                            }
                            _ => continue,
                        };
                        let Tried { resource, nonce, lease, waits, .. } = tried[attempt];
                        let claim = Claim {
                            resource: &resources[resource], nonce, lease, identity: &IDENTITY, waits, now: at(now),
                        };
                        let model = &mut models[resource];
                        match (table.acquire(claim), model.grant) {
                            (Ok(_), Some((holder, until))) => {
                                prop_assert_eq!(holder, attempt);
                                model.grant = Some((holder, until.max(now + lease)));
                            }
                            (Ok(_), None) => model.grant = Some((attempt, now + lease)),
                            (Err(refused), Some((holder, until))) => {
                                prop_assert_ne!(holder, attempt);
                                prop_assert_eq!(refused.contention.lease_left, now.until(until));
                                prop_assert_eq!(refused.ticket.is_some(), waits);
                                if waits && !model.queue.contains(&attempt) {
                                    model.queue.push(attempt);
                                    tried[attempt].ticket = refused.ticket;
                                }
                            }
                            (Err(refused), None) => prop_assert!(false, "free, but {refused:?}"),
                        }
                    }
                }
                for ((resource, model), last) in resources.iter().zip(&models).zip(&mut last_token) {
                    let held = table.held.get(resource.hash());
                    prop_assert_eq!(
                        held.map(|held| held.nonce),
                        model.grant.map(|(holder, _)| tried[holder].nonce)
                    );
                    if let Some(held) = held {
                        prop_assert!(held.token >= *last);
                        *last = held.token;
                    }
                }
            }
        }
    }
}
