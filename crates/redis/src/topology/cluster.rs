//! The nodes of a cluster, with a link to each that serves slots, and the lockers at them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, RwLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lock_inc_core::{
    error::{Cause, Refusal},
    lock,
    store::{Scope, StoreEvent, StoreEvents},
};
use redis::{Value, cmd};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Seat,
    slot_table::SlotTable,
    slots::{self, SLOTS},
};
use crate::{
    config::{Address, ClusterConfig, Config},
    keys::Keys,
    link::{Link, Machine, Shared, State},
    refusal::{self, Redirection, RefusalKind},
};

/// The nodes are asked so often where the slots are, if all is well,
const PAUSE: Duration = Duration::from_secs(5);
/// and if one of them cannot be reached, or is silent, or none of them serves some slot.
const TROUBLED_PAUSE: Duration = Duration::from_millis(250);
/// Not more often, whatever happens.
const SHORTEST_PAUSE: Duration = Duration::from_millis(25);
/// For so long a node is kept that may be about to serve slots.
const NEW: Duration = Duration::from_secs(10);
/// A node may take so long to say where the slots are, before another one is asked.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether a slot is somewhere else.
type IsMoved = Arc<dyn Fn(u16) -> bool + Send + Sync>;

/// The nodes of a cluster.
pub(crate) struct Cluster {
    config: Config,
    /// How `CLIENT LIST` shows the connections.
    name: String,
    machine: Machine,
    shared: Shared,
    inner: Mutex<Inner>,
    /// Which node serves each slot. Taken after `inner`.
    served: RwLock<Vec<Option<Arc<Node>>>>,
    /// How often slots were found somewhere else.
    moves: AtomicUsize,
    /// Why those that were asked last do not say where the slots are.
    refusal: Mutex<Option<Refusal>>,
    /// How often the nodes were asked.
    asked: AtomicUsize,
    closed: CancellationToken,
}

struct Inner {
    nodes: HashMap<Address, Arc<Node>>,
    /// Where nodes may be found, if none of those can be reached that serve slots.
    known: BTreeSet<(String, u16)>,
    /// Those that have joined and have not left.
    lockers: Vec<Arc<ClusterSeats>>,
    /// How many lockers there are, also those that have not joined yet.
    users: usize,
    closed: bool,
}

/// A node that serves slots, or may know which nodes do.
struct Node {
    address: Address,
    link: Arc<Link>,
    since: Instant,
    /// It serves slots, or has.
    has_served: AtomicBool,
    /// When the others were last asked whether it still does.
    confirmed: tokio::sync::Mutex<Option<Instant>>,
}

impl Node {
    fn is_well(&self) -> bool {
        self.link.live().is_some_and(|live| !live.commands.has_ended() && !live.commands.is_silent())
    }

    /// It may be about to serve slots.
    fn is_new(&self) -> bool {
        !self.has_served.load(Ordering::Relaxed) && self.since.elapsed() < NEW
    }
}

impl Cluster {
    pub(super) fn open(config: Config, name: String, machine: Machine) -> Arc<Self> {
        let inner = Inner {
            nodes: HashMap::new(),
            known: BTreeSet::new(),
            lockers: Vec::new(),
            users: 1,
            closed: false,
        };
        let cluster = Arc::new(Self {
            config,
            name,
            machine,
            shared: Shared::default(),
            inner: Mutex::new(inner),
            served: RwLock::new(vec![None; usize::from(SLOTS)]),
            moves: AtomicUsize::new(0),
            refusal: Mutex::default(),
            asked: AtomicUsize::new(0),
            closed: CancellationToken::new(),
        });
        cluster.meet_all();
        tokio::spawn(cluster.closed.clone().run_until_cancelled_owned(cluster.clone().keep_informed()));
        cluster
    }

    pub(super) fn reserve(&self) -> bool {
        let mut inner = self.inner();
        inner.users += usize::from(!inner.closed);
        !inner.closed
    }

    fn settings(&self) -> Option<&ClusterConfig> {
        self.config.cluster.as_ref()
    }

    /// Finds out where the slots are, again and again.
    async fn keep_informed(self: Arc<Self>) {
        // Whoever is asked about a change may not have heard of it yet, and is asked again.
        let mut is_settled = true;
        loop {
            let changed = self.shared.changed.notified();
            let is_informed = self.ask_nodes().await;
            if !is_informed {
                // Some node may be there in a moment.
                let _ = timeout(TROUBLED_PAUSE, changed).await;
            } else if self.is_well() {
                let pause = if is_settled { PAUSE } else { TROUBLED_PAUSE };
                is_settled = timeout(pause, self.shared.trouble.notified()).await.is_err();
            } else {
                sleep(TROUBLED_PAUSE).await;
            }
            sleep(SHORTEST_PAUSE).await;
        }
    }

    /// Asks one node after the other, beginning with another one each time, until one says where the slots are. `false` if
    /// none does.
    async fn ask_nodes(self: &Arc<Self>) -> bool {
        let mut nodes: Vec<_> = self.inner().nodes.values().filter(|node| node.is_well()).cloned().collect();
        if nodes.is_empty() {
            self.meet_all();
            return false;
        }
        let first = self.asked.fetch_add(1, Ordering::Relaxed) % nodes.len();
        nodes.rotate_left(first);
        self.ask(nodes).await
    }

    /// Every slot is served, by a node that answers.
    fn is_well(&self) -> bool {
        read(&self.served).iter().all(Option::is_some) && self.served_by().iter().all(|node| node.is_well())
    }

    /// Asks one after the other.
    async fn ask(self: &Arc<Self>, nodes: Vec<Arc<Node>>) -> bool {
        let mut refusal = None;
        for node in nodes {
            let Some(live) = node.link.live() else { continue };
            let asking = live.commands.send_one(cmd("CLUSTER").arg("SLOTS"));
            match timeout(PATIENCE, asking).await {
                Ok(Ok(Value::ServerError(error))) => refusal = Some(refusal::of_reply(&error, false)),
                Ok(Ok(answer)) => match SlotTable::read(answer, &node.address.host) {
                    Some(table) if !table.ranges.is_empty() => {
                        *lock(&self.refusal) = None;
                        self.learn(table);
                        return true;
                    }
                    _ => refusal = Some(unserved("the node knows of none that serves slots")),
                },
                _ => {}
            }
        }
        if refusal.is_some() {
            let is_news = std::mem::replace(&mut *lock(&self.refusal), refusal).is_none();
            if is_news {
                self.shared.changed.notify_waiters();
            }
        }
        false
    }

    /// Has the others say whether a node still serves a slot. Where none of them answers, it does as far as is known.
    async fn confirm(self: &Arc<Self>, slot: u16, link: &Arc<Link>) -> bool {
        let now = Instant::now();
        let (these, others): (Vec<_>, Vec<_>) =
            self.inner().nodes.values().cloned().partition(|node| Arc::ptr_eq(&node.link, link));
        if let Some(node) = these.first() {
            // Many answers may come at once.
            let mut confirmed = node.confirmed.lock().await;
            if confirmed.is_none_or(|confirmed| confirmed < now) {
                *confirmed = Some(Instant::now());
                self.ask(others.into_iter().filter(|other| other.is_well()).collect()).await;
            }
        }
        self.link_of(slot).is_some_and(|serving| Arc::ptr_eq(&serving, link))
    }

    /// The nodes say where the slots are.
    fn learn(self: &Arc<Self>, table: SlotTable) {
        let translate = |named: Address| match self.settings() {
            Some(settings) => settings.translate(named),
            None => named,
        };
        let mut inner = self.inner();
        let mut served = vec![None; usize::from(SLOTS)];
        inner.known =
            table.replicas.into_iter().map(translate).map(|address| (address.host, address.port)).collect();
        for (slots, primary) in table.ranges {
            let node = self.node(&mut inner, translate(primary));
            node.has_served.store(true, Ordering::Relaxed);
            inner.known.insert((node.address.host.clone(), node.address.port));
            for slot in slots {
                if let Some(served) = served.get_mut(usize::from(slot)) {
                    *served = Some(node.clone());
                }
            }
        }
        let in_use = |node: &Arc<Node>| served.iter().flatten().any(|other| Arc::ptr_eq(node, other));
        let (kept, left): (HashMap<_, _>, HashMap<_, _>) =
            inner.nodes.drain().partition(|(_, node)| in_use(node) || node.is_new());
        inner.nodes = kept;
        self.publish(&inner, served);
        // What they have not answered goes to the others.
        for node in left.into_values() {
            for locker in &inner.lockers {
                locker.leave_node(&node.link);
            }
            node.link.release();
        }
    }

    /// From now on slots are where this says.
    fn publish(&self, inner: &Inner, served: Vec<Option<Arc<Node>>>) {
        let is_moved = |(before, now): (&Option<Arc<Node>>, &Option<Arc<Node>>)| {
            before.as_ref().is_some_and(|before| now.as_ref().is_none_or(|now| !Arc::ptr_eq(before, now)))
        };
        let mut current = write(&self.served);
        let moved: Vec<bool> = current.iter().zip(&served).map(is_moved).collect();
        let is_new = current.iter().zip(&served).any(|(before, now)| before.is_none() && now.is_some());
        *current = served;
        drop(current);
        if is_new || moved.contains(&true) {
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.changed.notify_waiters();
        if moved.contains(&true) {
            let is_moved: IsMoved = Arc::new(move |slot| moved.get(usize::from(slot)) == Some(&true));
            inner.on_moved(&is_moved);
        }
    }

    /// The node at an address. A new one is connected to.
    fn node(&self, inner: &mut Inner, address: Address) -> Arc<Node> {
        if let Some(node) = inner.nodes.get(&address) {
            return node.clone();
        }
        let config = self.config.of_node(&address);
        let link = Link::open(config, self.name.clone(), self.machine.clone(), self.shared.clone());
        let node = Arc::new(Node {
            address: address.clone(),
            link,
            since: Instant::now(),
            has_served: AtomicBool::new(false),
            confirmed: tokio::sync::Mutex::default(),
        });
        for locker in &inner.lockers {
            locker.join_node(&node);
        }
        inner.nodes.insert(address, node.clone());
        node
    }

    /// Connects to all nodes of which something is known.
    fn meet_all(&self) {
        let mut inner = self.inner();
        let known = inner.known.iter().map(|(host, port)| Address { host: host.clone(), port: *port });
        let seeds = self.settings().map(|settings| settings.seeds.clone()).unwrap_or_default();
        for address in known.chain(seeds).collect::<Vec<_>>() {
            self.node(&mut inner, address);
        }
    }

    fn served_by(&self) -> Vec<Arc<Node>> {
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        for node in read(&self.served).iter().flatten() {
            // Slots come in ranges.
            if !nodes.last().is_some_and(|last| Arc::ptr_eq(last, node))
                && !nodes.iter().any(|other| Arc::ptr_eq(other, node))
            {
                nodes.push(node.clone());
            }
        }
        nodes
    }

    fn link_of(&self, slot: u16) -> Option<Arc<Link>> {
        read(&self.served).get(usize::from(slot))?.as_ref().map(|node| node.link.clone())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// One locker less. The last one closes the links.
    fn leave(&self, locker: &Arc<ClusterSeats>) {
        let mut inner = self.inner();
        inner.lockers.retain(|other| !Arc::ptr_eq(other, locker));
        inner.users -= 1;
        if inner.users > 0 {
            return;
        }
        inner.closed = true;
        self.closed.cancel();
        for (_, node) in inner.nodes.drain() {
            node.link.release();
        }
        self.shared.changed.notify_waiters();
    }
}

impl Inner {
    /// These slots are somewhere else.
    fn on_moved(&self, moved: &IsMoved) {
        for locker in &self.lockers {
            locker.on_moved(moved.clone());
        }
    }
}

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
    pub(super) fn new(cluster: Arc<Cluster>, channel: String, keys: Keys, confirms: bool) -> Self {
        let (events, seats) = (OnceLock::new(), RwLock::default());
        Self { cluster, channel, keys, confirms, events, seats, left: AtomicBool::new(false) }
    }

    pub(super) fn join(self: &Arc<Self>, events: Arc<dyn StoreEvents>) {
        // It joins once.
        let _ = self.events.set(events);
        let mut inner = self.cluster.inner();
        inner.lockers.push(self.clone());
        for node in inner.nodes.values() {
            self.join_node(node);
        }
    }

    pub(super) fn leave(self: &Arc<Self>) {
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

    fn join_node(self: &Arc<Self>, node: &Node) {
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

    fn leave_node(&self, link: &Arc<Link>) {
        let mut seats = write(&self.seats);
        let index = seats.iter().position(|seat| Arc::ptr_eq(&seat.link, link));
        let seat = index.map(|index| seats.swap_remove(index));
        drop(seats);
        if let Some(seat) = seat {
            seat.leave();
        }
    }

    pub(super) fn at(&self, slot: u16) -> Option<Arc<Seat>> {
        self.at_link(&self.cluster.link_of(slot)?)
    }

    fn at_link(&self, link: &Arc<Link>) -> Option<Arc<Seat>> {
        read(&self.seats).iter().find(|seat| Arc::ptr_eq(&seat.link, link)).cloned()
    }

    /// At each node that serves slots.
    pub(super) fn all(&self) -> Vec<Arc<Seat>> {
        self.cluster.served_by().iter().filter_map(|node| self.at_link(&node.link)).collect()
    }

    pub(super) fn changed(&self) -> &Notify {
        &self.cluster.shared.changed
    }

    pub(super) fn expect_messages(&self, expected: bool) {
        if self.cluster.shared.expectations.change(expected) {
            for seat in read(&self.seats).iter() {
                seat.link.wake_vigil();
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.left.load(Ordering::Relaxed) || self.cluster.closed.is_cancelled()
    }

    /// The slots may be somewhere else by now.
    pub(super) fn look_again(&self) {
        self.cluster.shared.trouble.notify_one();
    }

    /// Whether the rest of the cluster has this node serve a slot.
    pub(super) async fn confirm(&self, slot: u16, at: &Seat) -> bool {
        self.cluster.confirm(slot, &at.link).await
    }

    /// How often slots were found somewhere else.
    pub(super) fn moves(&self) -> usize {
        self.cluster.moves.load(Ordering::Relaxed)
    }

    /// Asks where the slots are now.
    pub(super) async fn refresh(&self) {
        self.cluster.ask_nodes().await;
    }

    /// Whether a call may wait for a connection.
    pub(super) fn has_offline_queue(&self) -> bool {
        self.cluster.config.offline_queue
    }

    /// Why no node of those that can be reached says which of them serves the slots, if none ever will.
    pub(super) fn final_refusal(&self) -> Option<Refusal> {
        let is_ready = |seat: &Arc<Seat>| matches!(*seat.link.state(), State::Ready(_));
        let refusal = lock(&self.cluster.refusal).clone().filter(|refusal| !refusal.is_passing)?;
        read(&self.seats).iter().all(is_ready).then_some(refusal)
    }

    /// Why no node is known to serve a slot. None: none has answered yet.
    pub(super) fn why_unserved(&self) -> Option<Refusal> {
        let is_known = || read(&self.cluster.served).iter().any(Option::is_some);
        let refusal = lock(&self.cluster.refusal).clone();
        refusal.or_else(|| is_known().then(|| unserved("no node serves the slot")))
    }

    /// At a node to which there is no connection, if there is none to any other either.
    pub(super) fn at_failing(&self) -> Option<Arc<Seat>> {
        let seats = read(&self.seats);
        let has_failed =
            |seat: &Arc<Seat>| !matches!(*seat.link.state(), State::Ready(_) | State::Connecting(None));
        seats.iter().all(has_failed).then(|| seats.first().cloned()).flatten()
    }

    /// Another node is to be asked, a node has said. Where this is for one command only, at which that is.
    pub(super) fn on_redirection(&self, redirection: &Redirection, by: &Seat) -> Option<Arc<Seat>> {
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
    fn on_moved(&self, moved: IsMoved) {
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
            StoreEvent::NumberTaken => self.events.hear(event),
        }
    }
}

/// What a node would say of a slot that none serves.
fn unserved(why: &str) -> Refusal {
    RefusalKind::ClusterDown.refusal(Cause::new("CLUSTERDOWN", format_args!("CLUSTERDOWN {why}")), false)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}
