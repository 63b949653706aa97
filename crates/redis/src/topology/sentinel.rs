//! A group of servers of which sentinels know the primary.
//!
//! Each sentinel has an [`observer`], which keeps a connection to it and asks it over and over, at once when it tells of
//! another primary. What they say is laid before the [`panel`], which knows what follows from it.
//!
//! A connection that works is left only for a server that says itself that it is a primary, and that more than half of
//! the sentinels name which have answered before: sentinels need as many for a failover. So one that lies, or knows less than the
//! others, makes nobody leave. A replica that is being made the primary counts as soon as it says that it is one: see
//! [`heir`]. Where there is no connection, it is better to try what any of the sentinels names.

use std::{
    fmt,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use lock_inc_core::{error::Cause, lock};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use self::{
    heir::Heir,
    observer::Observer,
    panel::{Panel, Report},
};
use super::role::Role;
use crate::{
    config::{Address, Config, Endpoint, Sentinel},
    link::{ConnectError, Deaf, Visit},
    tls::TlsClient,
};

mod heir;
mod observer;
mod panel;

/// Between two questions to a sentinel that has nothing to say by itself.
const PERIOD: Duration = Duration::from_secs(3);

/// For so long the others are waited for where one has answered and they may not agree.
const GRACE: Duration = Duration::from_millis(250);

/// For so long at the most a server is asked what it is.
const PROBE: Duration = Duration::from_secs(1);

/// Between two looks at a server that is to be the primary, and does not say so yet.
const AGAIN: Duration = Duration::from_millis(250);

/// The sentinels of a link.
pub(crate) struct Sentinels {
    /// What connections are made by, but for where they lead.
    config: Arc<Config>,
    sentinel: Sentinel,
    /// How long one try to connect may take.
    limit: Duration,
    panel: watch::Sender<Panel>,
    /// How often all of them were asked.
    round: watch::Sender<u64>,
    /// The replica that was last selected to become the primary.
    heir: watch::Sender<Option<Heir>>,
    tried: Mutex<Tried>,
}

/// What the last try to connect went by.
#[derive(Default)]
struct Tried {
    /// Where it led, if anywhere.
    primary: Option<Address>,
    /// What most of the sentinels named then.
    leading: Option<Address>,
}

impl Sentinels {
    /// `None`: the config has none. `limit`: how long one try to connect may take.
    pub(crate) fn of(config: &Arc<Config>, limit: Duration) -> Option<Arc<Self>> {
        let sentinel = config.sentinel.clone()?;
        Some(Arc::new(Self {
            panel: watch::Sender::new(Panel::new(&sentinel.addresses)),
            config: config.clone(),
            sentinel,
            limit,
            round: watch::Sender::new(0),
            heir: watch::Sender::new(None),
            tried: Mutex::default(),
        }))
    }

    /// Begins to observe them. Must be called on the runtime.
    pub(crate) fn observe(self: &Arc<Self>) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(self.clone().observe_all()))
    }

    /// Has an observer for each of them, also for those that are learned of.
    async fn observe_all(self: Arc<Self>) {
        let mut panel = self.panel.subscribe();
        let mut observers: Vec<(Address, AbortOnDropHandle<()>)> = Vec::new();
        loop {
            let addresses: Vec<_> = panel.borrow_and_update().addresses().cloned().collect();
            observers.retain(|(address, _)| addresses.contains(address));
            for address in addresses {
                if observers.iter().all(|(other, _)| *other != address) {
                    let observer = Observer::new(self.clone(), address.clone());
                    observers.push((address, AbortOnDropHandle::new(tokio::spawn(observer.run()))));
                }
            }
            // It does not end before this does.
            if panel.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks all of them where the primary is, and says how to connect to it.
    pub(crate) async fn resolve(&self) -> Result<(Address, Config), ConnectError> {
        let primary = self.find_primary().await;
        *lock(&self.tried) =
            Tried { primary: primary.as_ref().ok().cloned(), leading: self.panel.borrow().leading() };
        let primary = primary?;
        let config = self.config_for(&primary)?;
        Ok((primary, config))
    }

    async fn find_primary(&self) -> Result<Address, ConnectError> {
        if let Some(successor) = self.successor().await {
            return Ok(successor);
        }
        let mut panel = self.panel.subscribe();
        let round = self.ask();
        let patience = self.patience();
        let mut end = Instant::now() + patience;
        let mut heard = false;
        let named = loop {
            let named = {
                let panel = panel.borrow_and_update();
                if let Some(agreed) = panel.agreed(round) {
                    return Ok(agreed);
                }
                let named = panel.named(round);
                if panel.is_settled(round) {
                    break named;
                }
                named
            };
            if !heard && !named.is_empty() {
                heard = true;
                end = end.min(Instant::now() + GRACE);
            }
            if timeout_at(end, panel.changed()).await.is_err() {
                break named;
            }
        };
        match &*named {
            [] => Err(self.panel.borrow().failure(&self.sentinel.name, round, patience)),
            [(only, _)] => Ok(only.clone()),
            [(first, _), ..] => {
                // They do not agree.
                let are_primaries = join_all(named.iter().map(|(address, _)| self.is_primary(address))).await;
                let mut primaries = named.iter().zip(are_primaries).filter(|(_, is_primary)| *is_primary);
                // If none says that it is one, the error is to be about what most of them name.
                Ok(primaries.next().map_or(first, |((address, _), _)| address).clone())
            }
        }
    }

    /// Asks all of them anew. The number of the question.
    fn ask(&self) -> u64 {
        self.round.send_modify(|round| *round += 1);
        *self.round.borrow()
    }

    /// How long one sentinel may take to connect and to answer.
    fn patience(&self) -> Duration {
        self.limit / 2
    }

    fn record(&self, sentinel: &Address, round: u64, report: Report) {
        self.panel.send_modify(|panel| panel.record(sentinel, round, report));
    }

    /// Those that are asked.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.panel.borrow().addresses().cloned().collect()
    }

    /// A connection to one of them, for other questions.
    pub(crate) async fn visit(&self, sentinel: &Address) -> Result<Visit, ConnectError> {
        let config = self.config_for_sentinel(sentinel)?;
        let patience = self.patience();
        let visiting = timeout(patience, Visit::to(&config, Arc::new(Deaf))).await;
        let visit = visiting.unwrap_or_else(|_| Err(observer::silent(patience)));
        visit.map_err(|error| observer::worded(sentinel, error))
    }

    /// Waits until there is another primary than this one, which says so itself. Why the connection is to be left.
    pub(crate) async fn moved(&self, from: &Address) -> Cause {
        let to = tokio::select! {
            to = self.other_primary(from) => to,
            to = self.succession(from) => to,
        };
        self.failover(from, &to)
    }

    /// Waits until they name another one, and it says so itself.
    async fn other_primary(&self, from: &Address) -> Address {
        let mut panel = self.panel.subscribe();
        loop {
            let verdict = panel.borrow_and_update().verdict();
            let to = verdict.filter(|to| to != from && !self.is_succeeded(to));
            let is_there = match to {
                Some(to) if self.is_primary(&to).await => return to,
                to => to.is_some(),
            };
            // It may still be about to become one.
            let pause = if is_there { AGAIN } else { PERIOD };
            tokio::select! {
                () = sleep(pause) => {}
                _ = panel.changed(), if !is_there => {}
            }
        }
    }

    fn failover(&self, from: &Address, to: &Address) -> Cause {
        let name = &self.sentinel.name;
        let message = format_args!("the sentinels have {to} as the primary of '{name}' now, not {from}");
        Cause::new("ERR_SENTINEL_FAILOVER", message)
    }

    /// Waits until there is another primary than when a connection was tried last.
    pub(crate) async fn renamed(&self) {
        let tried = lock(&self.tried).primary.clone();
        let succession = async {
            match &tried {
                Some(tried) => drop(self.succession(tried).await),
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.other_leading() => {}
            () = succession => {}
        }
    }

    /// Waits until most of them name another one.
    async fn other_leading(&self) {
        let mut panel = self.panel.subscribe();
        loop {
            let leading = panel.borrow_and_update().leading();
            if leading.is_some() && leading != lock(&self.tried).leading {
                return;
            }
            // It does not end before this does.
            let _ = panel.changed().await;
        }
    }

    /// Goes on with a try to connect, but not where it leads nowhere any more: a server that stands still answers late or
    /// never.
    pub(crate) async fn unless_renamed<T>(
        &self,
        opening: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        tokio::select! {
            biased;
            opened = opening => opened,
            () = Box::pin(self.renamed()) => {
                let message = "the sentinels name another primary than when this was tried";
                Err(ConnectError::Passing(Cause::new("ERR_SENTINEL_FAILOVER", message)))
            }
        }
    }

    /// Whether a server says of itself that it is a primary.
    async fn is_primary(&self, address: &Address) -> bool {
        let role = Box::pin(async { Role::ask(&self.config_for(address)?).await });
        let limit = PROBE.min(self.limit / 4);
        matches!(timeout(limit, role).await, Ok(Ok(Role::Primary)))
    }

    /// Objects to a server that says itself that it is a replica.
    pub(crate) fn check(&self, role: Role) -> Result<(), ConnectError> {
        match (role, &lock(&self.tried).primary) {
            (Role::Replica, Some(primary)) => {
                let message = format_args!("the sentinels' primary at {primary} says that it is a replica");
                Err(ConnectError::Passing(Cause::new("ERR_SENTINEL_REPLICA", message)))
            }
            _ => Ok(()),
        }
    }

    /// How to connect to a server of the group.
    fn config_for(&self, server: &Address) -> Result<Config, ConnectError> {
        self.config_to(server, self.config.tls.clone())
    }

    fn config_for_sentinel(&self, sentinel: &Address) -> Result<Config, ConnectError> {
        let Sentinel { tls, username, password, .. } = &self.sentinel;
        let config = self.config_to(sentinel, tls.clone())?;
        Ok(Config { username: username.clone(), password: password.clone(), database: 0, ..config })
    }

    fn config_to(&self, address: &Address, tls: Option<TlsClient>) -> Result<Config, ConnectError> {
        let Address { host, port } = address.clone();
        let family = self.config.family();
        let named = tls.as_ref().map(|tls| tls.for_host(&host)).transpose();
        named.map_err(|error| {
            let message = format_args!("the sentinels name {address}, of which the host {}", error.problem);
            ConnectError::Passing(Cause::new("ERR_SENTINEL_ADDRESS", message))
        })?;
        Ok(Config { endpoint: Endpoint::Tcp { host, port, family }, tls, ..Config::clone(&self.config) })
    }
}

/// What errors call the server.
impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.sentinel.name;
        match &lock(&self.tried).primary {
            Some(primary) => write!(f, "Redis '{name}' at {primary} (by Sentinel)"),
            None => write!(f, "Redis '{name}' (by Sentinel)"),
        }
    }
}
