//! Locks in the memory of this process: no server, same results.
//!
//! # Layout
//!
//! * `table`: the locks of one prefix and the queues of those who wait for them, as the scripts have it in Redis.
//! * this file: a locker's access to such a table.

use std::{
    collections::HashMap,
    future::ready,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use lock_inc_core::{
    Clock, Identity, Inspection, LeaseChange, QueuedCall, Resource, Terms,
    error::Limit,
    lock,
    store::{
        Acquired, AllAcquired, Answer, Attempt, Deadline, Grant, HandOver, Poll, Polled, Release, Released,
        Renew, Renewed, Store, StoreEvents,
    },
};

use self::table::{Claim, LockTable, Now, Told};

mod table;

/// The locks of a prefix, and the lockers that want to hear of them.
struct Prefix {
    table: LockTable,
    /// How many [`Memory`]s there are of it. Changed while [`PREFIXES`] is locked.
    users: usize,
    /// By the id of the client.
    lockers: HashMap<String, Arc<dyn StoreEvents>>,
}

impl Prefix {
    /// Tells everybody what the last call has done to them.
    fn tell(&mut self) {
        for Told { client, event } in self.table.take_events() {
            // A locker that has just gone needs to know nothing.
            if let Some(locker) = self.lockers.get(&client) {
                locker.hear(event);
            }
        }
    }
}

/// All that the process has in memory, shared by every locker, in whichever worker thread. Like a server, it outlives the
/// lockers.
#[derive(Default)]
struct Prefixes {
    /// Those with a locker, or with something in their table.
    by_name: HashMap<Arc<str>, Arc<Mutex<Prefix>>>,
    /// The last token that was given under any of the others.
    last_token: u64,
}

static PREFIXES: LazyLock<Mutex<Prefixes>> = LazyLock::new(Mutex::default);

/// A locker's access to the table of its prefix.
pub struct Memory {
    name: Arc<str>,
    prefix: Arc<Mutex<Prefix>>,
    identity: Identity,
    clock: Arc<dyn Clock>,
}

impl Memory {
    pub fn new(prefix: &str, identity: Identity, clock: Arc<dyn Clock>) -> Self {
        let name: Arc<str> = prefix.into();
        let mut prefixes = lock(&PREFIXES);
        let table = LockTable::after(prefixes.last_token);
        let empty = || Arc::new(Mutex::new(Prefix { table, users: 0, lockers: HashMap::default() }));
        let prefix = prefixes.by_name.entry(name.clone()).or_insert_with(empty).clone();
        lock(&prefix).users += 1;
        Self { name, prefix, identity, clock }
    }

    fn now(&self) -> Now {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { moment: self.clock.now(), clock }
    }

    /// From now on nobody is told anything by this way.
    fn leave(&self) {
        let mut prefix = lock(&self.prefix);
        prefix.table.leave(&self.identity.client);
        prefix.lockers.remove(&self.identity.client);
    }

    /// Does something with the table, and tells everybody what came of it.
    fn with<T>(&self, act: impl FnOnce(&mut LockTable, Now) -> T) -> T {
        let mut prefix = lock(&self.prefix);
        let result = act(&mut prefix.table, self.now());
        prefix.tell();
        result
    }

    /// Answers a question about a resource, once a lease that is over has ended and the lock has gone to the next waiter.
    fn ask<T>(&self, resource: &Resource, question: impl FnOnce(&LockTable, Now) -> T) -> T {
        self.with(|table, now| {
            table.expire_and_hand_over(resource.hash(), now);
            question(table, now)
        })
    }
}

/// The last locker takes a prefix with it of which there is nothing to know.
impl Drop for Memory {
    fn drop(&mut self) {
        self.leave();
        let mut prefixes = lock(&PREFIXES);
        let mut prefix = lock(&self.prefix);
        prefix.users -= 1;
        if prefix.users > 0 {
            return;
        }
        let last_token = prefix.table.last_token_if_empty(self.now());
        drop(prefix);
        if let Some(last_token) = last_token {
            prefixes.by_name.remove(&self.name);
            prefixes.last_token = prefixes.last_token.max(last_token);
        }
    }
}

fn answer<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    Box::pin(ready(Ok(value)))
}

impl Store for Memory {
    fn start(&self, events: Arc<dyn StoreEvents>) {
        let mut prefix = lock(&self.prefix);
        prefix.table.enter(&self.identity.client);
        prefix.lockers.insert(self.identity.client.clone(), events);
    }

    fn acquire<'a>(&'a self, attempt: &'a Attempt, _deadline: Deadline) -> Answer<'a, Acquired> {
        let Attempt { ref resource, nonce, terms, waits, steals, .. } = *attempt;
        let identity = &self.identity;
        answer(self.with(|table, now| {
            match table.acquire(Claim { resource, nonce, terms, identity, waits, steals, now }) {
                Ok(token) => Acquired::Granted(Grant { token, sent: now.moment }),
                Err(refused) => Acquired::Contended {
                    contention: refused.contention,
                    ticket: refused.ticket,
                    sent: now.moment,
                },
            }
        }))
    }

    fn acquire_all<'a>(&'a self, attempts: &'a [Attempt], _deadline: Deadline) -> Answer<'a, AllAcquired> {
        answer(self.with(|table, now| {
            let identity = &self.identity;
            let claim = |attempt: &'a Attempt| {
                let &Attempt { ref resource, nonce, terms, .. } = attempt;
                Claim { resource, nonce, terms, identity, waits: false, steals: false, now }
            };
            let claims: Vec<_> = attempts.iter().map(claim).collect();
            match table.acquire_all(&claims) {
                Ok(tokens) => AllAcquired::Granted { tokens, sent: now.moment },
                Err((index, refused)) => {
                    AllAcquired::Contended { index, contention: refused.contention, resent: false }
                }
            }
        }))
    }

    fn poll<'a>(
        &'a self,
        Poll { resource, waiting, last }: Poll<'a>,
        _deadline: Deadline,
    ) -> Answer<'a, Polled> {
        answer(self.with(|table, now| {
            let (contention, places) = table.poll(resource, waiting, last, &self.identity, now);
            // Also where the event is on its way.
            let granted = |&QueuedCall { nonce, terms: Terms { lease, .. }, .. }| {
                table.token_of(resource.hash(), nonce).map(|token| HandOver { nonce, token, lease })
            };
            let hand_overs: Vec<_> = waiting.iter().filter_map(granted).collect();
            for HandOver { nonce, lease, .. } in &hand_overs {
                table.renew(resource.hash(), *nonce, LeaseChange::AtLeast(*lease), now);
            }
            Polled { missing: 0, contention, hand_overs, places, sent: now.moment }
        }))
    }

    fn release<'a>(
        &'a self,
        Release { resource, nonce, .. }: Release<'a>,
        _deadline: Deadline,
    ) -> Answer<'a, Released> {
        let released = self.with(|table, now| table.release(resource.hash(), nonce, now));
        answer(if released { Released::Yes(Vec::new()) } else { Released::No })
    }

    fn is_locked<'a>(&'a self, resource: &'a Resource, _deadline: Deadline) -> Answer<'a, bool> {
        answer(self.ask(resource, |table, _| table.is_locked(resource.hash())))
    }

    fn renew<'a>(
        &'a self,
        Renew { resource, nonce, change, .. }: Renew<'a>,
        _deadline: Deadline,
    ) -> Answer<'a, Renewed> {
        answer(self.with(|table, now| {
            let ownership = table.renew(resource.hash(), nonce, change, now);
            Renewed { ownership, sent: now.moment }
        }))
    }

    fn inspect<'a>(&'a self, resource: &'a Resource, _deadline: Deadline) -> Answer<'a, Option<Inspection>> {
        answer(self.ask(resource, |table, now| table.inspect(resource.hash(), now)))
    }

    fn list(&self, _deadline: Deadline) -> Answer<'_, Vec<(Resource, Inspection)>> {
        answer(self.with(LockTable::list))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn remove<'a>(&'a self, resource: &'a Resource, _deadline: Deadline) -> Answer<'a, bool> {
        answer(self.with(|table, now| table.remove(resource.hash(), now)))
    }

    fn purge(&self, _patience: Limit) -> Answer<'_, ()> {
        self.with(LockTable::purge);
        answer(())
    }

    /// They are heard by whoever causes them.
    fn expect_events(&self, _expected: bool) {}

    fn begin_close(&self) {}

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.leave();
        Box::pin(ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        task::{Context, Poll as Answered, Waker},
        time::Duration,
    };

    use lock_inc_core::{Mode, Moment, Nonces};

    use super::*;

    struct Standing;

    impl Clock for Standing {
        fn now(&self) -> Moment {
            Moment::at(Duration::from_secs(9))
        }
    }

    fn open(prefix: &str) -> Memory {
        let identity = Identity { client: "c".into(), pid: 1, host: "h".into() };
        Memory::new(prefix, identity, Arc::new(Standing))
    }

    fn is_kept(prefix: &str) -> bool {
        lock(&PREFIXES).by_name.contains_key(prefix)
    }

    #[test]
    fn a_prefix_is_kept_while_it_has_a_locker_or_a_lock_and_its_tokens_go_on_increasing() {
        let (resource, nonces) = (Resource::new("a"), Nonces::new(7));
        let take = |memory: &Memory, nonce, clock| {
            let terms = Terms { lease: Duration::from_mins(1), mode: Mode::Exclusive };
            let (identity, now) = (&memory.identity, Now { moment: Standing.now(), clock });
            let claim =
                Claim { resource: &resource, nonce, terms, identity, waits: false, steals: false, now };
            memory.with(|table, _| table.acquire(claim)).unwrap()
        };
        let (first, other) = (open("kept:"), open("kept:"));
        drop(first);
        assert!(is_kept("kept:"));
        let nonce = nonces.next(Mode::Exclusive, |_| false);
        let token = take(&other, nonce, Duration::from_secs(2));
        drop(other);
        assert!(is_kept("kept:"));
        let last = open("kept:");
        assert!(last.with(|table, now| table.release(resource.hash(), nonce, now)));
        drop(last);
        assert!(!is_kept("kept:"));
        assert!(
            take(&open("kept:"), nonces.next(Mode::Exclusive, |_| false), Duration::from_secs(1)) > token
        );
    }

    /// Nobody is ever kept waiting for an answer.
    fn now<T>(mut answer: Answer<'_, T>) -> T {
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Answered::Ready(answer) => answer.unwrap(),
            Answered::Pending => panic!("no answer"),
        }
    }

    #[test]
    fn a_poll_gives_each_of_its_calls_that_has_the_lock_the_whole_lease_and_a_steal_takes_it_from_them() {
        let (memory, nonces, resource) = (open("polled:"), Nonces::new(7), Resource::new("a"));
        let deadline = || Deadline::after(Limit { time: Duration::from_secs(1), option: "none" });
        let attempt = |mode, waits, steals| Attempt {
            resource: resource.clone(),
            nonce: nonces.next(mode, |_| false),
            terms: Terms { lease: Duration::from_mins(1), mode },
            waits,
            steals,
            is_held_here: false,
        };
        memory.with(|table, _| table.enter("c"));
        let first = attempt(Mode::Exclusive, false, false);
        now(memory.acquire(&first, deadline()));
        let mut waiting = Vec::new();
        for mode in [Mode::shared(0), Mode::shared(2), Mode::shared(2)] {
            let attempt = attempt(mode, true, false);
            let Acquired::Contended { ticket, .. } = now(memory.acquire(&attempt, deadline())) else {
                panic!("granted")
            };
            let Attempt { nonce, terms, .. } = attempt;
            waiting.push(QueuedCall { nonce, terms, ticket: ticket.unwrap() });
        }
        let (resource, nonce) = (&resource, first.nonce);
        let release = Release { resource, nonce, queued: None, is_untouched: false };
        assert_eq!(now(memory.release(release, deadline())), Released::Yes(Vec::new()));
        let polled = now(memory.poll(Poll { resource, waiting: &waiting, last: false }, deadline()));
        let granted: Vec<_> =
            polled.hand_overs.iter().map(|granted| (granted.nonce, granted.lease)).collect();
        let whole = Duration::from_mins(1);
        assert_eq!(granted, [(waiting[0].nonce, whole), (waiting[1].nonce, whole)]);
        let left = now(memory.inspect(resource, deadline())).unwrap().holders;
        assert!(left.iter().all(|holding| holding.lease_left == whole), "{left:?}");
        let thief = attempt(Mode::Exclusive, false, true);
        assert!(matches!(now(memory.acquire(&thief, deadline())), Acquired::Granted(_)));
        let holders = now(memory.inspect(resource, deadline())).unwrap().holders;
        assert_eq!(holders.len(), 1);
        assert_eq!(holders[0].holder.as_ref().unwrap().nonce, thief.nonce);
    }
}
