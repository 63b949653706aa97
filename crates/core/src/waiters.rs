//! What a locker waits for: its calls that are in a queue of the store, and when to ask about them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{Contention, Mode, Moment, Nonce, Resource, Terms, store::Scope};

/// The longest time between two polls: a message that was lost is made good by then, and a queue whose holder went
/// away goes on. The store takes a client for dead after three times as long.
pub(crate) const LONGEST_POLL: Duration = Duration::from_secs(5);

/// Polls that follow after about [`LONGEST_POLL`] come at multiples of this, whichever locker's they are: many lockers that
/// wait for long have the machine wake up seldom.
const TOGETHER: Duration = Duration::from_millis(100);

/// The shortest time between two polls, as with a JavaScript timer.
pub(crate) const SHORTEST_POLL: Duration = Duration::from_millis(1);

/// When to poll after an answer about who is in the way.
///
/// `interval`: for where nobody will send news: the holder is lock-inc 1.2.0, nobody holds the lock, or messages do
/// not arrive. `unit`: a random number in `0.0..1.0`, so that those who wait for the same do not all ask at once.
pub(crate) fn poll_after(contention: &Contention, is_told: bool, interval: Duration, unit: f64) -> Duration {
    if contention.holder.is_none() || !is_told {
        return interval.clamp(SHORTEST_POLL, LONGEST_POLL);
    }
    let spread = (contention.lease_left / 10).max(Duration::from_millis(10));
    let end_of_lease = contention.lease_left + SHORTEST_POLL + spread.mul_f64(unit);
    end_of_lease.min(LONGEST_POLL.mul_f64(1.0 - unit / 5.0))
}

/// When a poll is due that is to follow after `pause`.
fn poll_moment(now: Moment, pause: Duration) -> Moment {
    let (due, last) = (now + pause, now + LONGEST_POLL);
    if pause < LONGEST_POLL.mul_f64(0.8) {
        return due;
    }
    let due = due.min(last).round_up(TOGETHER);
    if due > last { due - TOGETHER } else { due }
}

/// A call in the store's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuedCall {
    pub nonce: Nonce,
    /// What it has asked for.
    pub terms: Terms,
    /// Its place in the order of arrival.
    pub ticket: u64,
}

/// The calls of one locker that wait, by resource in order of arrival. `T`: what the locker keeps for each.
///
/// One poll serves all who wait for a resource: it names the first of them, as those behind it are in the queue while
/// it is.
#[derive(Debug)]
pub(crate) struct Waiters<T> {
    by_nonce: HashMap<Nonce, Waiting<T>>,
    groups: HashMap<Arc<str>, Group>,
    /// When which group is to be polled.
    polls: BTreeSet<(Moment, Arc<str>)>,
}

#[derive(Debug)]
struct Waiting<T> {
    resource: Resource,
    terms: Terms,
    /// Known from the answer on that put it into the queue.
    ticket: Option<u64>,
    /// An event was about it before that answer.
    doubtful: bool,
    kept: T,
}

#[derive(Debug)]
struct Group {
    resource: Resource,
    in_order: BTreeMap<(u64, Nonce), Terms>,
    /// `None` while a poll is under way.
    next_poll: Option<Moment>,
    /// A poll was asked for while one was under way.
    again: bool,
    /// The store may have granted these the lock, or dropped them from its queue.
    doubt: Doubt,
    /// The shortest one that a call has asked for.
    interval: Duration,
}

/// Whom the next poll is to ask about, besides the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Doubt {
    /// These; mostly none.
    About(Vec<Nonce>),
    All,
}

impl Default for Doubt {
    fn default() -> Self {
        Self::About(Vec::new())
    }
}

impl Doubt {
    fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::All, _) => {}
            (this, Self::All) => *this = Self::All,
            (Self::About(these), Self::About(others)) => {
                for nonce in others {
                    if !these.contains(&nonce) {
                        these.push(nonce);
                    }
                }
            }
        }
    }
}

/// A poll that is due. What has come of it goes to [`Waiters::on_polled`] or [`Waiters::on_poll_failed`].
#[derive(Debug)]
pub(crate) struct DuePoll {
    pub resource: Resource,
    /// Of whom it is to ask, in order of arrival.
    pub waiting: Vec<QueuedCall>,
    doubt: Doubt,
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self { by_nonce: HashMap::new(), groups: HashMap::new(), polls: BTreeSet::new() }
    }
}

impl<T> Waiters<T> {
    /// A call that asks to be let into the queue. From here on a grant may come for it.
    pub(crate) fn join(&mut self, resource: Resource, nonce: Nonce, terms: Terms, kept: T) {
        self.by_nonce.insert(nonce, Waiting { resource, terms, ticket: None, doubtful: false, kept });
    }

    /// The call is in the queue, and whoever holds the resource is to be asked about after `pause`. `interval`: see
    /// [`poll_after`].
    pub(crate) fn enter_queue(
        &mut self,
        nonce: Nonce,
        ticket: u64,
        interval: Duration,
        now: Moment,
        pause: Duration,
    ) {
        let poll = poll_moment(now, pause);
        let Some(waiting) = self.by_nonce.get_mut(&nonce) else { return };
        waiting.ticket = Some(ticket);
        let (resource, terms, doubtful) = (waiting.resource.clone(), waiting.terms, waiting.doubtful);
        let hash = resource.shared_hash();
        let group = self.groups.entry(hash.clone()).or_insert_with(|| {
            self.polls.insert((poll, hash.clone()));
            Group {
                resource,
                in_order: BTreeMap::new(),
                next_poll: Some(poll),
                again: false,
                doubt: Doubt::default(),
                interval,
            }
        });
        group.interval = group.interval.min(interval);
        group.in_order.insert((ticket, nonce), terms);
        if doubtful {
            self.doubt(nonce, now);
        } else if group.next_poll.is_some_and(|next| poll < next) {
            self.poll_at(&hash, poll);
        }
    }

    /// Takes out a call that waits no more.
    pub(crate) fn take(&mut self, nonce: Nonce) -> Option<(Resource, T)> {
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

    /// A call that waits.
    pub(crate) fn get_mut(&mut self, nonce: Nonce) -> Option<(&Resource, &mut T)> {
        self.by_nonce.get_mut(&nonce).map(|waiting| (&waiting.resource, &mut waiting.kept))
    }

    /// Those who wait of these.
    pub(crate) fn still(&self, queued: &[QueuedCall]) -> Vec<QueuedCall> {
        queued.iter().filter(|queued| self.contains(queued.nonce)).copied().collect()
    }

    /// Whether this call still waits.
    pub(crate) fn contains(&self, nonce: Nonce) -> bool {
        self.by_nonce.contains_key(&nonce)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_nonce.is_empty()
    }

    /// Whether calls are in the queue of a resource.
    pub(crate) fn wait_for(&self, hash: &str) -> bool {
        self.groups.contains_key(hash)
    }

    /// Those who are in the queue of a resource.
    pub(crate) fn of(&self, hash: &str) -> Vec<Nonce> {
        let group = self.groups.get(hash);
        group.into_iter().flat_map(|group| group.in_order.keys().map(|(_, nonce)| *nonce)).collect()
    }

    /// All who are in a queue.
    pub(crate) fn in_queue(&self) -> Vec<Nonce> {
        self.groups.values().flat_map(|group| group.in_order.keys().map(|(_, nonce)| *nonce)).collect()
    }

    /// All who are in a queue: of which resource, their places in the order of arrival, and what they ask for.
    pub(crate) fn all_in_queue(&self) -> Vec<(Resource, u64, Mode)> {
        let groups = self.groups.values();
        let calls = groups.flat_map(|group| group.in_order.iter().map(|call| (group.resource.clone(), call)));
        calls.map(|(resource, ((ticket, _), terms))| (resource, *ticket, terms.mode)).collect()
    }

    /// When a group is to be polled next.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.polls.first().map(|(moment, _)| *moment)
    }

    /// The polls that are due by `now`.
    pub(crate) fn take_due(&mut self, now: Moment) -> Vec<DuePoll> {
        let mut due = Vec::new();
        while self.polls.first().is_some_and(|(moment, _)| *moment <= now) {
            let Some((_, hash)) = self.polls.pop_first() else { break };
            let Some(group) = self.groups.get_mut(&hash) else { continue };
            group.next_poll = None;
            let doubt = std::mem::take(&mut group.doubt);
            let asked: Vec<_> = match &doubt {
                Doubt::All => group.in_order.iter().collect(),
                Doubt::About(nonces) => {
                    let place = |nonce: &Nonce| Some((self.by_nonce.get(nonce)?.ticket?, *nonce));
                    let places = nonces.iter().filter_map(place);
                    let places: BTreeSet<_> = places.chain(group.in_order.keys().next().copied()).collect();
                    places.iter().filter_map(|place| group.in_order.get_key_value(place)).collect()
                }
            };
            let queued = |(&(ticket, nonce), &terms)| QueuedCall { nonce, terms, ticket };
            let waiting = asked.into_iter().map(queued).collect();
            due.push(DuePoll { resource: group.resource.clone(), waiting, doubt });
        }
        due
    }

    /// A poll was answered, or came to nothing; the next one follows after `pause`, which is given the group's interval.
    pub(crate) fn on_polled(&mut self, hash: &str, now: Moment, pause: impl FnOnce(Duration) -> Duration) {
        let Some(group) = self.groups.get_mut(hash) else { return };
        // The group of that poll is gone, and this is another one.
        if group.next_poll.is_some() {
            return;
        }
        let pause =
            if std::mem::replace(&mut group.again, false) { Duration::ZERO } else { pause(group.interval) };
        let next = poll_moment(now, pause);
        group.next_poll = Some(next);
        self.polls.insert((next, hash.into()));
    }

    /// A poll came to nothing: the next one asks about the same calls, when its time has come.
    pub(crate) fn on_poll_failed(&mut self, poll: DuePoll) {
        if let Some(group) = self.groups.get_mut(poll.resource.hash()) {
            group.doubt.add(poll.doubt);
        }
    }

    /// The store may have granted the lock to this call without our having heard of it: asks about it at once.
    pub(crate) fn doubt(&mut self, nonce: Nonce, now: Moment) {
        let Some(waiting) = self.by_nonce.get_mut(&nonce) else { return };
        waiting.doubtful = waiting.ticket.is_none();
        let hash = waiting.resource.shared_hash();
        if let Some(group) = self.groups.get_mut(&hash) {
            group.doubt.add(Doubt::About(vec![nonce]));
        }
        self.poll_soon(&hash, now);
    }

    /// The store has lost its queue, and has been asked about so many of those who wait for this resource: asks about all
    /// of them at once, which puts them back into it.
    pub(crate) fn doubt_all(&mut self, hash: &str, asked: usize, now: Moment) {
        if let Some(group) = self.groups.get_mut(hash)
            && group.in_order.len() > asked
        {
            group.doubt = Doubt::All;
            self.poll_soon(hash, now);
        }
    }

    /// Events may have been missed: polls every group at once.
    pub(crate) fn poll_all(&mut self, scope: &Scope, now: Moment) {
        let meant = self.groups.iter().filter(|(_, group)| scope.has(&group.resource));
        let hashes: Vec<_> = meant.map(|(hash, _)| hash.clone()).collect();
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
mod tests;
