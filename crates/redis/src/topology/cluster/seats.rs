//! The lockers at the nodes of a cluster: each has a seat at every node.

use std::sync::{
    Arc, OnceLock, RwLock, Weak,
    atomic::{AtomicBool, Ordering},
};

use lock_inc_core::{
    error::Refusal,
    lock,
    store::{Scope, StoreEvent, StoreEvents},
};
use tokio::sync::Notify;

use super::{
    super::{Seat, slots},
    Cluster, IsMoved, Node, read, unserved, write,
};
use crate::{
    keys::Keys,
    link::{Link, State},
    refusal::Redirection,
};

/// A locker at the nodes of a cluster.
pub(crate) struct ClusterSeats {
    cluster: Arc<Cluster>,
    channel: String,
    keys: Keys,
    /// Whether it asks for confirmations.
    confirms: bool,
    events: OnceLock<Arc<dyn StoreEvents>>,
    /// Taken last.
    seats: RwLock<Vec<Arc<Seat>>>,
    left: AtomicBool,
}

impl ClusterSeats {
    pub(crate) fn new(cluster: Arc<Cluster>, channel: String, keys: Keys, confirms: bool) -> Self {
        let (events, seats) = (OnceLock::new(), RwLock::default());
        Self { cluster, channel, keys, confirms, events, seats, left: AtomicBool::new(false) }
    }

    pub(crate) fn join(self: &Arc<Self>, events: Arc<dyn StoreEvents>) {
        // It joins once.
        let _ = self.events.set(events);
        let mut inner = self.cluster.inner();
        inner.lockers.push(self.clone());
        for node in inner.nodes.values() {
            self.join_node(node);
        }
    }

    pub(crate) fn leave(self: &Arc<Self>) {
        if self.left.swap(true, Ordering::Relaxed) {
            return;
        }
        self.cluster.leave(self);
        // It gets no more of them.
        let seats = std::mem::take(&mut *write(&self.seats));
        for seat in seats {
            seat.leave();
        }
    }

    pub(super) fn join_node(self: &Arc<Self>, node: &Node) {
        let Some(events) = self.events.get() else { return };
        if self.left.load(Ordering::Relaxed) || !node.link.reserve() {
            return;
        }
        let (channel, keys) = (self.channel.clone(), self.keys.clone());
        let seat = Arc::new(Seat::new(node.link.clone(), channel, keys, self.confirms));
        write(&self.seats).push(seat.clone());
        let (locker, link) = (Arc::downgrade(self), Arc::downgrade(&node.link));
        seat.join(Arc::new(NodeEvents { locker, link, events: events.clone() }));
    }

    pub(super) fn leave_node(&self, link: &Arc<Link>) {
        let mut seats = write(&self.seats);
        let index = seats.iter().position(|seat| Arc::ptr_eq(&seat.link, link));
        let seat = index.map(|index| seats.swap_remove(index));
        drop(seats);
        if let Some(seat) = seat {
            seat.leave();
        }
    }

    pub(crate) fn at(&self, slot: u16) -> Option<Arc<Seat>> {
        self.at_link(&self.cluster.link_of(slot)?)
    }

    fn at_link(&self, link: &Arc<Link>) -> Option<Arc<Seat>> {
        read(&self.seats).iter().find(|seat| Arc::ptr_eq(&seat.link, link)).cloned()
    }

    /// At each node that serves slots.
    pub(crate) fn all(&self) -> Vec<Arc<Seat>> {
        self.cluster.served_by().iter().filter_map(|node| self.at_link(&node.link)).collect()
    }

    pub(crate) fn changed(&self) -> &Notify {
        &self.cluster.shared.changed
    }

    pub(crate) fn expect_messages(&self, expected: bool) {
        if self.cluster.shared.expectations.change(expected) {
            for seat in read(&self.seats).iter() {
                seat.link.wake_vigil();
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.left.load(Ordering::Relaxed) || self.cluster.closed.is_cancelled()
    }

    /// The slots may be somewhere else by now.
    pub(crate) fn look_again(&self) {
        self.cluster.shared.trouble.notify_one();
    }

    /// Whether the rest of the cluster has this node serve a slot.
    pub(crate) async fn confirm(&self, slot: u16, at: &Seat) -> bool {
        self.cluster.confirm(slot, &at.link).await
    }

    /// How often slots were found somewhere else.
    pub(crate) fn moves(&self) -> usize {
        self.cluster.moves.load(Ordering::Relaxed)
    }

    /// Asks where the slots are now.
    pub(crate) async fn refresh(&self) {
        self.cluster.ask_nodes().await;
    }

    /// Whether a call may wait for a connection.
    pub(crate) fn has_offline_queue(&self) -> bool {
        self.cluster.config.offline_queue
    }

    /// Why no node of those that can be reached says which of them serves the slots, if none ever will.
    pub(crate) fn final_refusal(&self) -> Option<Refusal> {
        let is_ready = |seat: &Arc<Seat>| matches!(*seat.link.state(), State::Ready(_));
        let refusal = lock(&self.cluster.refusal).clone().filter(|refusal| !refusal.is_passing)?;
        read(&self.seats).iter().all(is_ready).then_some(refusal)
    }

    /// Why no node is known to serve a slot. None: none has answered yet.
    pub(crate) fn why_unserved(&self) -> Option<Refusal> {
        let is_known = || read(&self.cluster.served).iter().any(Option::is_some);
        let refusal = lock(&self.cluster.refusal).clone();
        refusal.or_else(|| is_known().then(|| unserved("no node serves the slot")))
    }

    /// At a node to which there is no connection, if there is none to any other either.
    pub(crate) fn at_failing(&self) -> Option<Arc<Seat>> {
        let seats = read(&self.seats);
        let has_failed =
            |seat: &Arc<Seat>| !matches!(*seat.link.state(), State::Ready(_) | State::Connecting(None));
        seats.iter().all(has_failed).then(|| seats.first().cloned()).flatten()
    }

    /// Another node is to be asked, a node has said. Where this is for one command only, at which that is.
    pub(crate) fn on_redirection(&self, redirection: &Redirection, by: &Seat) -> Option<Arc<Seat>> {
        let Redirection { is_ask, slot, to } = redirection;
        let cluster = &self.cluster;
        let mut inner = cluster.inner();
        if inner.closed {
            return None;
        }
        let mut to = to.clone();
        if to.host.is_empty() {
            let by = inner.nodes.values().find(|node| Arc::ptr_eq(&node.link, &by.link))?;
            to.host.clone_from(&by.address.host);
        }
        let to = cluster.settings().map_or(to.clone(), |settings| settings.translate(to));
        let node = cluster.node(&mut inner, to);
        if *is_ask {
            return self.at_link(&node.link);
        }
        // It is kept for now if the next one to be asked has not heard of it yet.
        let slot = *slot;
        let before = write(&cluster.served)
            .get_mut(usize::from(slot))
            .and_then(|serving| serving.replace(node.clone()));
        cluster.shared.changed.notify_waiters();
        if before.as_ref().is_none_or(|before| !Arc::ptr_eq(before, &node)) {
            cluster.moves.fetch_add(1, Ordering::Relaxed);
        }
        if before.is_some_and(|before| !Arc::ptr_eq(&before, &node)) {
            let is_moved: IsMoved = Arc::new(move |other| other == slot);
            inner.on_moved(&is_moved);
        }
        drop(inner);
        // Where one slot has gone others may have.
        self.look_again();
        None
    }

    /// These slots are somewhere else: events about them may have been missed.
    pub(super) fn on_moved(&self, moved: IsMoved) {
        let Some(events) = self.events.get() else { return };
        let keys = self.keys.clone();
        let scope = Scope::Some(Arc::new(move |resource| moved(slots::of_key(keys.of(resource).lock()))));
        events.hear(StoreEvent::Missed(scope));
    }

    fn serves(&self, link: &Arc<Link>, lock: &str) -> bool {
        self.cluster.link_of(slots::of_key(lock)).is_some_and(|serving| Arc::ptr_eq(&serving, link))
    }
}

/// What a node tells a locker. A message reaches all nodes, and so comes once from each: the one that serves the lock is the one to
/// be heard.
struct NodeEvents {
    locker: Weak<ClusterSeats>,
    link: Weak<Link>,
    events: Arc<dyn StoreEvents>,
}

impl StoreEvents for NodeEvents {
    fn hear(&self, event: StoreEvent) {
        let (Some(locker), Some(link)) = (self.locker.upgrade(), self.link.upgrade()) else { return };
        match &event {
            StoreEvent::Granted { hash, .. } | StoreEvent::Removed { hash, .. } => {
                if locker.serves(&link, locker.keys.of_hash(hash).lock()) {
                    self.events.hear(event);
                }
            }
            StoreEvent::Missed(_) => {
                let (seats, link) = (self.locker.clone(), self.link.clone());
                let is_served = move |lock: &str| {
                    let at = seats.upgrade().zip(link.upgrade());
                    at.is_some_and(|(seats, link)| seats.serves(&link, lock))
                };
                let keys = locker.keys.clone();
                let scope = Scope::Some(Arc::new(move |resource| is_served(keys.of(resource).lock())));
                self.events.hear(StoreEvent::Missed(scope));
            }
            StoreEvent::Disconnected(_) | StoreEvent::NumberTaken => self.events.hear(event),
        }
    }
}
