//! What a locker waits for: its calls that are in a queue of the store, and when to ask about them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{Contention, Moment, Nonce, Resource};

/// The longest time between two polls: a message that was lost is made good by then, and a queue whose holder went
/// away goes on. The store takes a client for dead after three times as long.
pub const LONGEST_POLL: Duration = Duration::from_secs(5);

/// The shortest time between two polls, as with a JavaScript timer.
pub const SHORTEST_POLL: Duration = Duration::from_millis(1);

/// When to poll after an answer about who is in the way.
///
/// `interval`: for where nobody will send news: the holder is lock-inc 1.2.0, nobody holds the lock, or messages do
/// not arrive. `unit`: a random number in `0.0..1.0`, so that those who wait for the same do not all ask at once.
pub fn poll_after(contention: &Contention, hears: bool, interval: Duration, unit: f64) -> Duration {
    if contention.holder.is_none() || !hears {
        return interval.clamp(SHORTEST_POLL, LONGEST_POLL);
    }
    let spread = (contention.lease_left / 10).max(Duration::from_millis(10));
    let end_of_lease = contention.lease_left + SHORTEST_POLL + spread.mul_f64(unit);
    end_of_lease.min(LONGEST_POLL.mul_f64(1.0 - unit / 5.0))
}

/// A call in the store's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    pub nonce: Nonce,
    /// The lease that it has asked for.
    pub lease: Duration,
    /// Its place in the order of arrival.
    pub ticket: u64,
}

/// The calls of one locker that wait, by resource in order of arrival. `T`: what the locker keeps for each.
///
/// One poll serves all who wait for a resource: it names the first of them, as those behind it are in the queue while
/// it is.
#[derive(Debug)]
pub struct Waiters<T> {
    by_nonce: HashMap<Nonce, Waiting<T>>,
    groups: HashMap<Arc<str>, Group>,
    /// When which group is to be polled.
    polls: BTreeSet<(Moment, Arc<str>)>,
}

#[derive(Debug)]
struct Waiting<T> {
    resource: Resource,
    lease: Duration,
    /// Known from the answer on that put it into the queue.
    ticket: Option<u64>,
    /// There was news of it before that answer.
    doubtful: bool,
    kept: T,
}

#[derive(Debug)]
struct Group {
    resource: Resource,
    in_order: BTreeMap<(u64, Nonce), Duration>,
    /// `None` while a poll is under way.
    next_poll: Option<Moment>,
    /// A poll was asked for while one was under way.
    again: bool,
    /// Of these the store may have granted one, or have none any more.
    doubtful: Doubt,
    /// The shortest one that a call has asked for.
    interval: Duration,
}

/// What the next poll is to ask about, besides the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    Nothing,
    One(Nonce),
    All,
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self { by_nonce: HashMap::new(), groups: HashMap::new(), polls: BTreeSet::new() }
    }
}

impl<T> Waiters<T> {
    /// A call that asks to be let into the queue. From here on a grant may come for it.
    pub fn join(&mut self, resource: Resource, nonce: Nonce, lease: Duration, kept: T) {
        self.by_nonce.insert(nonce, Waiting { resource, lease, ticket: None, doubtful: false, kept });
    }

    /// The call is in the queue, and whoever holds the resource is to be asked about after `pause`. `interval`: see
    /// [`poll_after`].
    pub fn queued(&mut self, nonce: Nonce, ticket: u64, interval: Duration, now: Moment, pause: Duration) {
        let poll = now + pause;
        let Some(waiting) = self.by_nonce.get_mut(&nonce) else { return };
        waiting.ticket = Some(ticket);
        let (resource, lease, doubtful) = (waiting.resource.clone(), waiting.lease, waiting.doubtful);
        let hash = resource.shared_hash();
        let group = self.groups.entry(hash.clone()).or_insert_with(|| {
            self.polls.insert((poll, hash.clone()));
            Group {
                resource,
                in_order: BTreeMap::new(),
                next_poll: Some(poll),
                again: false,
                doubtful: Doubt::Nothing,
                interval,
            }
        });
        group.interval = group.interval.min(interval);
        group.in_order.insert((ticket, nonce), lease);
        if doubtful {
            self.doubt(nonce, now);
        } else if group.next_poll.is_some_and(|next| poll < next) {
            self.poll_at(&hash, poll);
        }
    }

    /// Takes out a call that waits no more.
    pub fn take(&mut self, nonce: Nonce) -> Option<(Resource, T)> {
        let Waiting { resource, ticket, kept, .. } = self.by_nonce.remove(&nonce)?;
        if let Some(ticket) = ticket
            && let Some(group) = self.groups.get_mut(resource.hash())
        {
            group.in_order.remove(&(ticket, nonce));
            if group.in_order.is_empty() {
                if let Some(next) = group.next_poll {
                    self.polls.remove(&(next, resource.shared_hash()));
                }
                self.groups.remove(resource.hash());
            }
        }
        Some((resource, kept))
    }

    /// Those who wait of these.
    pub fn still(&self, queued: &[Queued]) -> Vec<Queued> {
        queued.iter().filter(|queued| self.contains(queued.nonce)).copied().collect()
    }

    /// Whether this call still waits.
    pub fn contains(&self, nonce: Nonce) -> bool {
        self.by_nonce.contains_key(&nonce)
    }

    pub fn is_empty(&self) -> bool {
        self.by_nonce.is_empty()
    }

    /// Those who are in the queue of a resource.
    pub fn of(&self, hash: &str) -> Vec<Nonce> {
        let group = self.groups.get(hash);
        group.into_iter().flat_map(|group| group.in_order.keys().map(|(_, nonce)| *nonce)).collect()
    }

    /// All who are in a queue.
    pub fn in_queue(&self) -> Vec<Nonce> {
        self.groups.values().flat_map(|group| group.in_order.keys().map(|(_, nonce)| *nonce)).collect()
    }

    /// When a group is to be polled next.
    pub fn next_due(&self) -> Option<Moment> {
        self.polls.first().map(|(moment, _)| *moment)
    }

    /// The polls that are due by `now`. Of each of them [`polled`](Self::polled) is to say what came of it.
    pub fn due(&mut self, now: Moment) -> Vec<(Resource, Vec<Queued>)> {
        let mut due = Vec::new();
        while self.polls.first().is_some_and(|(moment, _)| *moment <= now) {
            let Some((_, hash)) = self.polls.pop_first() else { break };
            let Some(group) = self.groups.get_mut(&hash) else { continue };
            group.next_poll = None;
            let queued =
                |(&(ticket, nonce), &lease): (&(u64, Nonce), &Duration)| Queued { nonce, lease, ticket };
            let ask = match std::mem::replace(&mut group.doubtful, Doubt::Nothing) {
                Doubt::All => group.in_order.iter().map(queued).collect(),
                Doubt::Nothing => group.in_order.iter().take(1).map(queued).collect(),
                Doubt::One(nonce) => {
                    let ticket = self.by_nonce.get(&nonce).and_then(|waiting| waiting.ticket);
                    let one = ticket.and_then(|ticket| group.in_order.get_key_value(&(ticket, nonce)));
                    let first = group.in_order.first_key_value().filter(|first| Some(*first) != one);
                    first.into_iter().chain(one).map(queued).collect()
                }
            };
            due.push((group.resource.clone(), ask));
        }
        due
    }

    /// A poll was answered, or came to nothing; the next one follows after `pause`, which is given the group's interval.
    pub fn polled(&mut self, hash: &str, now: Moment, pause: impl FnOnce(Duration) -> Duration) {
        let Some(group) = self.groups.get_mut(hash) else { return };
        // The group of that poll is gone, and this is another one.
        if group.next_poll.is_some() {
            return;
        }
        let pause =
            if std::mem::replace(&mut group.again, false) { Duration::ZERO } else { pause(group.interval) };
        let next = now + pause.min(LONGEST_POLL);
        group.next_poll = Some(next);
        self.polls.insert((next, hash.into()));
    }

    /// The store may have granted the lock to this call without our having heard of it: asks about it at once.
    pub fn doubt(&mut self, nonce: Nonce, now: Moment) {
        let Some(waiting) = self.by_nonce.get_mut(&nonce) else { return };
        waiting.doubtful = waiting.ticket.is_none();
        let hash = waiting.resource.shared_hash();
        if let Some(group) = self.groups.get_mut(&hash)
            && group.doubtful != Doubt::All
        {
            group.doubtful = Doubt::One(nonce);
        }
        self.poll_soon(&hash, now);
    }

    /// The store has lost its queue, and has been asked about so many of those who wait for this resource: asks about all
    /// of them at once, which puts them back into it.
    pub fn doubt_all(&mut self, hash: &str, asked: usize, now: Moment) {
        if let Some(group) = self.groups.get_mut(hash)
            && group.in_order.len() > asked
        {
            group.doubtful = Doubt::All;
            self.poll_soon(hash, now);
        }
    }

    /// A poll about all who wait for this resource has failed: the next one, when its time has come, is about all again.
    pub fn doubt_all_still(&mut self, hash: &str) {
        if let Some(group) = self.groups.get_mut(hash) {
            group.doubtful = Doubt::All;
        }
    }

    /// News may have been missed: polls every group at once.
    pub fn poll_all(&mut self, now: Moment) {
        let hashes: Vec<_> = self.groups.keys().cloned().collect();
        for hash in hashes {
            self.poll_soon(&hash, now);
        }
    }

    fn poll_soon(&mut self, hash: &str, now: Moment) {
        let Some(group) = self.groups.get_mut(hash) else { return };
        match group.next_poll {
            Some(_) => self.poll_at(hash, now),
            None => group.again = true,
        }
    }

    fn poll_at(&mut self, hash: &str, when: Moment) {
        let Some(group) = self.groups.get_mut(hash) else { return };
        let hash: Arc<str> = hash.into();
        if let Some(before) = group.next_poll.replace(when) {
            self.polls.remove(&(before, hash.clone()));
        }
        self.polls.insert((when, hash));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Holder, Nonces, contention::Identity};

    const INTERVAL: Duration = Duration::from_millis(200);

    struct Scene {
        waiters: Waiters<()>,
        nonces: Nonces,
        now: Moment,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                waiters: Waiters::default(),
                nonces: Nonces::new(7),
                now: Moment::at(Duration::from_secs(9)),
            }
        }

        fn at(&self, ms: u64) -> Moment {
            self.now + Duration::from_millis(ms)
        }

        fn wait(&mut self, name: &str, ticket: u64, poll: u64) -> Nonce {
            let nonce = self.nonces.next();
            self.waiters.join(Resource::new(name), nonce, Duration::from_secs(1), ());
            self.waiters.queued(nonce, ticket, INTERVAL, self.now, Duration::from_millis(poll));
            nonce
        }

        /// The names and tickets of the polls that are due.
        fn due(&mut self, ms: u64) -> Vec<(String, Vec<u64>)> {
            let tickets = |queued: Vec<Queued>| queued.iter().map(|queued| queued.ticket).collect();
            let due = self.waiters.due(self.at(ms));
            due.into_iter().map(|(resource, queued)| (resource.name().into(), tickets(queued))).collect()
        }

        fn polled(&mut self, name: &str, ms: u64) {
            let pause = Duration::from_millis(50);
            self.waiters.polled(Resource::new(name).hash(), self.at(ms), |_| pause);
        }
    }

    fn due(name: &str, tickets: &[u64]) -> (String, Vec<u64>) {
        (name.into(), tickets.to_vec())
    }

    #[test]
    fn one_poll_names_the_first_of_all_who_wait_for_a_resource_and_the_next_follows_its_answer() {
        let mut scene = Scene::new();
        scene.wait("a", 9, 100);
        let first = scene.wait("a", 5, 100);
        scene.wait("b", 7, 80);
        assert_eq!(scene.due(79), []);
        assert_eq!(scene.waiters.next_due(), Some(scene.at(80)));
        assert_eq!(scene.due(100), [due("b", &[7]), due("a", &[5])]);
        assert_eq!(scene.due(1000), []);
        scene.polled("a", 120);
        assert!(scene.waiters.take(first).is_some());
        assert_eq!(scene.due(170), [due("a", &[9])]);
    }

    #[test]
    fn whoever_is_in_doubt_is_asked_about_at_once_or_after_the_answer_that_is_awaited() {
        let mut scene = Scene::new();
        let tickets: Vec<_> = (1..5).map(|ticket| scene.wait("a", ticket, 100)).collect();
        let now = scene.now;
        scene.waiters.doubt(tickets[2], now);
        assert_eq!(scene.due(0), [due("a", &[1, 3])]);
        scene.waiters.doubt(tickets[0], now);
        assert_eq!(scene.due(0), []);
        scene.polled("a", 5);
        assert_eq!(scene.due(5), [due("a", &[1])]);
        scene.polled("a", 5);
        scene.waiters.doubt_all(Resource::new("a").hash(), 4, now);
        assert_eq!(scene.due(0), []);
        scene.waiters.doubt_all(Resource::new("a").hash(), 1, now);
        assert_eq!(scene.due(0), [due("a", &[1, 2, 3, 4])]);
        // It comes to nothing, and is not tried again at once.
        scene.waiters.doubt_all_still(Resource::new("a").hash());
        scene.polled("a", 5);
        assert_eq!(scene.due(54), []);
        assert_eq!(scene.due(55), [due("a", &[1, 2, 3, 4])]);
    }

    #[test]
    fn news_of_a_call_before_it_is_known_to_be_in_the_queue_are_not_forgotten() {
        let mut scene = Scene::new();
        scene.wait("a", 1, 100);
        for name in ["a", "b"] {
            let nonce = scene.nonces.next();
            scene.waiters.join(Resource::new(name), nonce, Duration::from_secs(1), ());
            scene.waiters.doubt(nonce, scene.now);
            assert!(scene.due(0).iter().all(|due| due.1 == [1]));
            scene.polled("a", 0);
            scene.waiters.queued(nonce, 2, INTERVAL, scene.now, Duration::from_secs(5));
            let due = scene.due(0);
            assert!(due.iter().any(|due| due.0 == name && due.1.contains(&2)), "{due:?}");
        }
    }

    #[test]
    fn nothing_is_left_of_those_who_have_gone() {
        let mut scene = Scene::new();
        let all = [scene.wait("a", 1, 10), scene.wait("a", 2, 5), scene.wait("b", 3, 1)];
        let asking = scene.nonces.next();
        scene.waiters.join(Resource::new("a"), asking, Duration::from_secs(1), ());
        assert_eq!(scene.due(1).len(), 1);
        for nonce in all.into_iter().chain([asking]) {
            assert!(scene.waiters.contains(nonce));
            assert!(scene.waiters.take(nonce).is_some());
            assert!(scene.waiters.take(nonce).is_none());
        }
        scene.polled("b", 10);
        scene.waiters.queued(asking, 4, INTERVAL, scene.now, Duration::ZERO);
        assert_eq!(scene.waiters.next_due(), None);
        assert!(scene.waiters.groups.is_empty() && scene.waiters.by_nonce.is_empty());
    }

    #[test]
    fn polls_follow_the_end_of_the_lease_but_not_by_more_than_the_limit_and_an_old_holder_at_the_interval() {
        let nonce = Nonces::new(1).next();
        let identity = Identity { client: "c".into(), pid: 1, host: "h".into() };
        let holder = Holder { nonce, token: 1, identity };
        let held = |ms| Contention {
            count: 2,
            holder: Some(holder.clone()),
            lease_left: Duration::from_millis(ms),
            place: None,
        };
        let ms = Duration::from_millis;
        assert_eq!(poll_after(&held(100), true, INTERVAL, 0.0), ms(101));
        assert!(poll_after(&held(100), true, INTERVAL, 0.99) <= ms(111));
        assert_eq!(poll_after(&held(60_000), true, INTERVAL, 0.0), LONGEST_POLL);
        assert!(poll_after(&held(60_000), true, INTERVAL, 0.99) >= LONGEST_POLL * 4 / 5);
        assert_eq!(poll_after(&held(60_000), false, INTERVAL, 0.5), INTERVAL);
        let old = Contention { holder: None, ..held(60_000) };
        assert_eq!(poll_after(&old, true, INTERVAL, 0.5), INTERVAL);
        assert_eq!(poll_after(&old, true, Duration::ZERO, 0.5), SHORTEST_POLL);
        assert_eq!(poll_after(&old, true, Duration::from_mins(1), 0.5), LONGEST_POLL);
    }
}
