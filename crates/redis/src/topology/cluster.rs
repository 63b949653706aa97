//! The nodes of a cluster, with a link to each that serves slots. [`seats`]: the lockers at them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lock_inc_core::{
    error::{Cause, Refusal},
    lock,
};
use redis::{Value, cmd};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::seats::ClusterSeats;
use super::{slot_table::SlotTable, slots::SLOTS};
use crate::{
    config::{Address, ClusterConfig, Config},
    link::{Link, Machine, Shared},
    refusal::{self, RefusalKind},
};

mod seats;

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

/// What a node would say of a slot that none serves.
fn unserved(why: &str) -> Refusal {
    RefusalKind::ClusterDown.refusal(Cause::new("CLUSTERDOWN", format_args!("CLUSTERDOWN {why}")), false)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
