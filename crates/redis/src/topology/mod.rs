//! Which servers there are, and which of them a command is for.
//!
//! # Layout
//!
//! * [`call`]: a command on its way to an answer, over one connection after the other, at one server after the other.
//! * [`cluster`]: the nodes of a cluster. [`slots`]: what a key says of its node. [`slot_table`]: what the nodes say.
//! * [`sentinel`]: where the primary of a group is. [`role`]: what a server says that it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lock_inc_core::{Moment, error::Limit, store::StoreEvents};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::cluster::{Cluster, ClusterSeats};
use crate::{
    config::Config,
    keys::Keys,
    link::{Link, Machine, Member, Shared},
};

pub(crate) mod call;
pub(crate) mod cluster;
pub(crate) mod role;
pub(crate) mod sentinel;
mod slot_table;
pub(crate) mod slots;

/// The servers that a `config` leads to. Lockers with the same `config` share them.
pub struct Servers {
    machine: Machine,
    command_timeout: Duration,
    kind: Kind,
}

enum Kind {
    One(Arc<Link>),
    Cluster(Arc<Cluster>),
}

impl Servers {
    /// Starts to connect. Must be called on the runtime. They are [reserved](Self::reserve) for the caller. `name`: how
    /// `CLIENT LIST` shows the connections.
    pub fn open(config: Config, name: String, machine: Machine) -> Self {
        let command_timeout = config.command_timeout;
        let kind = if config.cluster.is_some() {
            Kind::Cluster(Cluster::open(config, name, machine.clone()))
        } else {
            Kind::One(Link::open(config, name, machine.clone(), Shared::default()))
        };
        Self { machine, command_timeout, kind }
    }

    /// Somebody is about to use them. `false` if they have been closed, or have been given up for good: then others are
    /// needed, which try anew.
    pub fn reserve(&self) -> bool {
        match &self.kind {
            Kind::One(link) => link.reserve(),
            Kind::Cluster(cluster) => cluster.reserve(),
        }
    }

    /// The names of the keys under a prefix.
    pub(crate) fn keys(&self, prefix: String) -> Keys {
        match &self.kind {
            Kind::One(_) => Keys::new(prefix),
            Kind::Cluster(_) => Keys::in_slots(prefix),
        }
    }
}

/// A locker at one server.
pub(crate) struct Seat {
    pub(crate) link: Arc<Link>,
    pub(crate) member: Arc<Member>,
    /// Whether it asks for confirmations.
    confirms: bool,
    /// It uses the link no more.
    left: AtomicBool,
}

impl Seat {
    /// The link has to be [reserved](Link::reserve).
    fn new(link: Arc<Link>, channel: String, keys: Keys, confirms: bool) -> Self {
        if confirms {
            link.expect_confirmations(true);
        }
        let member = Arc::new(Member::new(channel, keys));
        Self { link, member, confirms, left: AtomicBool::new(false) }
    }

    /// From now on it is served.
    fn join(&self, events: Arc<dyn StoreEvents>) {
        self.link.join(self.member.clone(), events);
    }

    fn leave(&self) {
        if self.left.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.confirms {
            self.link.expect_confirmations(false);
        }
        self.link.leave(&self.member);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Which server a command is for.
pub(crate) enum Place {
    /// The one that serves this slot; where there is no cluster, the one that there is.
    Slot(u16),
    At(Arc<Seat>),
}

/// A locker at its servers.
pub(crate) struct Seats {
    servers: Arc<Servers>,
    kind: SeatsKind,
    /// Nothing waits for a connection any more.
    pub(crate) closing: CancellationToken,
}

enum SeatsKind {
    One(Arc<Seat>),
    Cluster(Arc<ClusterSeats>),
}

impl Seats {
    /// At servers that have been [reserved](Servers::reserve). `channel`: of the locker's own. `confirms`: whether it asks for
    /// confirmations.
    pub(crate) fn new(servers: Arc<Servers>, channel: String, keys: Keys, confirms: bool) -> Self {
        let kind = match &servers.kind {
            Kind::One(link) => SeatsKind::One(Arc::new(Seat::new(link.clone(), channel, keys, confirms))),
            Kind::Cluster(cluster) => {
                SeatsKind::Cluster(Arc::new(ClusterSeats::new(cluster.clone(), channel, keys, confirms)))
            }
        };
        Self { servers, kind, closing: CancellationToken::new() }
    }

    /// From now on the locker is served, and hears what happens.
    pub(crate) fn join(&self, events: Arc<dyn StoreEvents>) {
        match &self.kind {
            SeatsKind::One(seat) => seat.join(events),
            SeatsKind::Cluster(seats) => seats.join(events),
        }
    }

    pub(crate) fn leave(&self) {
        match &self.kind {
            SeatsKind::One(seat) => seat.leave(),
            SeatsKind::Cluster(seats) => seats.leave(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.servers.machine.clock.now()
    }

    /// How long a command of no call may take.
    pub(crate) fn patience(&self) -> Limit {
        Limit { time: self.servers.command_timeout, option: "settings.commandTimeout" }
    }

    /// The place of a key.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        match &self.kind {
            SeatsKind::One(_) => Place::Slot(0),
            SeatsKind::Cluster(_) => Place::Slot(slots::of_key(key)),
        }
    }

    /// The same for a key that is only made where it matters.
    pub(crate) fn place_of_made(&self, key: impl FnOnce() -> String) -> Place {
        match &self.kind {
            SeatsKind::One(_) => Place::Slot(0),
            SeatsKind::Cluster(_) => self.place_of(&key()),
        }
    }

    /// Where this locker is at the server in that place; none while it is not known which that is.
    pub(crate) fn at(&self, place: &Place) -> Option<Arc<Seat>> {
        match (place, &self.kind) {
            (Place::At(seat), _) | (Place::Slot(_), SeatsKind::One(seat)) => Some(seat.clone()),
            (Place::Slot(slot), SeatsKind::Cluster(seats)) => seats.at(*slot),
        }
    }

    /// At each server that has some of the locks.
    pub(crate) fn all(&self) -> Vec<Arc<Seat>> {
        match &self.kind {
            SeatsKind::One(seat) => vec![seat.clone()],
            SeatsKind::Cluster(seats) => seats.all(),
        }
    }

    /// Whether they are at nodes of a cluster.
    pub(crate) fn are_nodes(&self) -> bool {
        self.cluster().is_some()
    }

    /// How often locks were found to be at other servers.
    pub(crate) fn moves(&self) -> usize {
        self.cluster().map_or(0, ClusterSeats::moves)
    }

    /// Finds out at which servers the locks are now.
    pub(crate) async fn refresh(&self) {
        if let Some(cluster) = self.cluster() {
            cluster.refresh().await;
        }
    }

    /// The number of the connection that a command for this place would be sent on; 0 before there is one.
    pub(crate) fn connection(&self, place: &Place) -> u32 {
        self.at(place).map_or(0, |seat| seat.member.connection())
    }

    /// See [`Store::expect_events`](lock_inc_core::store::Store::expect_events).
    pub(crate) fn expect_messages(&self, expected: bool) {
        match &self.kind {
            SeatsKind::One(seat) => seat.link.expect_messages(expected),
            SeatsKind::Cluster(seats) => seats.expect_messages(expected),
        }
    }

    /// The locker waits for this lock again and again.
    pub(crate) fn listen_closely(&self, place: &Place, lock: &str) {
        if self.are_nodes()
            && let Some(seat) = self.at(place)
        {
            seat.link.listen_closely(&seat.member, lock);
        }
    }

    fn changed(&self) -> &Notify {
        match &self.kind {
            SeatsKind::One(seat) => &seat.link.shared.changed,
            SeatsKind::Cluster(seats) => seats.changed(),
        }
    }

    fn cluster(&self) -> Option<&ClusterSeats> {
        match &self.kind {
            SeatsKind::One(_) => None,
            SeatsKind::Cluster(seats) => Some(seats),
        }
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
