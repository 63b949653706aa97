//! What the sentinels say, and what follows from it.

use std::{collections::HashSet, time::Duration};

use lock_inc_core::error::{Cause, Refusal};

use crate::{config::Address, link::ConnectError};

/// So many sentinels are asked at the most. None names so many others unless it lies.
const MOST: usize = 32;

/// Of so many an error tells what is wrong with each.
const SHOWN: usize = 5;

/// What one sentinel has answered.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// Here is the primary.
    Primary(Address),
    /// It does not watch over a group of this name.
    UnknownName,
    /// Nothing.
    Away(ConnectError),
}

/// An answer, and what the sentinel says of itself and the others.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) said: Said,
    /// Its own id, if it tells.
    pub(super) id: Option<String>,
    pub(super) peers: Vec<Peer>,
    /// Replicas of the primary.
    pub(super) replicas: Vec<Address>,
}

/// Another sentinel of the same group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) address: Address,
    pub(super) id: String,
}

/// All sentinels that are asked.
#[derive(Debug)]
pub(super) struct Panel(Vec<Seat>);

#[derive(Debug)]
struct Seat {
    address: Address,
    /// The options name it. Of the others it was learned.
    is_configured: bool,
    /// In answer to which question `report` was: they are counted.
    round: u64,
    report: Option<Report>,
    /// It has once named a primary, so it counts where a majority does.
    is_elector: bool,
}

impl Seat {
    fn new(address: Address, is_configured: bool) -> Self {
        Self { address, is_configured, round: 0, report: None, is_elector: false }
    }

    fn id(&self) -> Option<&str> {
        self.report.as_ref()?.id.as_deref()
    }

    /// What it says since a question was asked.
    fn said_since(&self, round: u64) -> Option<&Said> {
        self.report.as_ref().filter(|_| self.round >= round).map(|report| &report.said)
    }

    fn primary_since(&self, round: u64) -> Option<&Address> {
        match self.said_since(round)? {
            Said::Primary(address) => Some(address),
            Said::UnknownName | Said::Away(_) => None,
        }
    }
}

impl Panel {
    pub(super) fn new(addresses: &[Address]) -> Self {
        let mut seen = HashSet::new();
        let distinct = addresses.iter().filter(|address| seen.insert(*address));
        Self(distinct.map(|address| Seat::new(address.clone(), true)).collect())
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.0.iter().map(|seat| &seat.address)
    }

    /// A sentinel has answered a question, or cannot be asked.
    pub(super) fn record(&mut self, sentinel: &Address, round: u64, report: Report) {
        // It may have been learned since that it is none.
        let Some(seat) = self.0.iter_mut().find(|seat| seat.address == *sentinel) else { return };
        match &report.said {
            Said::Primary(_) => seat.is_elector = true,
            Said::UnknownName => seat.is_elector = false,
            Said::Away(_) => {}
        }
        seat.round = round;
        seat.report = Some(report);
        self.learn();
    }

    /// Seats those whom most of the configured ones know. One that is of another group, or lies, brings in nobody.
    fn learn(&mut self) {
        let configured: Vec<_> = self.0.iter().filter(|seat| seat.is_configured).collect();
        let answering: Vec<_> = configured
            .iter()
            .filter(|seat| seat.primary_since(0).is_some())
            .filter_map(|seat| seat.report.as_ref())
            .collect();
        if answering.is_empty() {
            return;
        }
        let is_configured = |peer: &Peer| {
            configured.iter().any(|seat| seat.address == peer.address || seat.id() == Some(&*peer.id))
        };
        let knows = |report: &&&Report, peer: &Peer| report.peers.contains(peer);
        let mut wanted = Vec::new();
        for peer in answering.iter().flat_map(|report| &report.peers) {
            let by = answering.iter().filter(|report| knows(report, peer)).count();
            if by * 2 > answering.len() && !is_configured(peer) && !wanted.contains(&peer.address) {
                wanted.push(peer.address.clone());
            }
        }
        wanted.truncate(MOST.saturating_sub(configured.len()));
        self.0.retain(|seat| seat.is_configured || wanted.contains(&seat.address));
        wanted.retain(|address| self.0.iter().all(|seat| seat.address != *address));
        self.0.extend(wanted.into_iter().map(|address| Seat::new(address, false)));
    }

    /// Each sentinel once, also if it has several addresses.
    fn distinct(&self) -> impl Iterator<Item = &Seat> {
        let mut ids = HashSet::new();
        self.0.iter().filter(move |seat| seat.id().is_none_or(|id| ids.insert(id)))
    }

    /// Every one of them has answered a question, or cannot be asked.
    pub(super) fn is_settled(&self, round: u64) -> bool {
        self.0.iter().all(|seat| seat.said_since(round).is_some())
    }

    /// What they name as the primary since a question was asked, and how many do: first what most of them name.
    pub(super) fn named(&self, since: u64) -> Vec<(Address, usize)> {
        let mut named: Vec<(Address, usize)> = Vec::new();
        for address in self.distinct().filter_map(|seat| seat.primary_since(since)) {
            match named.iter_mut().find(|(other, _)| other == address) {
                Some((_, votes)) => *votes += 1,
                None => named.push((address.clone(), 1)),
            }
        }
        // Stable: among equals, the order of the options counts.
        named.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
        named
    }

    /// What more than half of all have named since a question was asked: those who have not answered yet change nothing.
    pub(super) fn agreed(&self, since: u64) -> Option<Address> {
        let all = self.distinct().count();
        self.named(since).into_iter().next().filter(|(_, votes)| votes * 2 > all).map(|(address, _)| address)
    }

    /// What more than half of those name now that have ever named one. Sentinels need as many for a failover.
    pub(super) fn verdict(&self) -> Option<Address> {
        let electors = self.distinct().filter(|seat| seat.is_elector).count();
        self.named(0).into_iter().next().filter(|(_, votes)| votes * 2 > electors).map(|(address, _)| address)
    }

    /// Whether more than half of those that name a primary now know this replica.
    pub(super) fn has_replica(&self, address: &Address) -> bool {
        let naming = || self.distinct().filter(|seat| seat.primary_since(0).is_some());
        let reports = naming().filter_map(|seat| seat.report.as_ref());
        let knowing = reports.filter(|report| report.replicas.contains(address)).count();
        knowing * 2 > naming().count()
    }

    /// What most of them name now.
    pub(super) fn leading(&self) -> Option<Address> {
        self.named(0).into_iter().next().map(|(address, _)| address)
    }

    /// Why none has named a primary since a question was asked. `patience`: for how long they were waited for.
    pub(super) fn failure(&self, name: &str, since: u64, patience: Duration) -> ConnectError {
        let mut unknown = 0;
        let mut away = Vec::new();
        let mut last: Option<&ConnectError> = None;
        for seat in &self.0 {
            match seat.said_since(since) {
                Some(Said::UnknownName) => unknown += 1,
                Some(Said::Away(error)) => {
                    // What trying again will not mend goes first.
                    if last.is_none_or(|last| is_passing(last) && !is_passing(error)) {
                        last = Some(error);
                    }
                    away.push(format!("{}: {}", seat.address, error.cause().message));
                }
                Some(Said::Primary(_)) => {}
                None => {
                    let ms = patience.as_millis();
                    away.push(format!("{}: no answer within {ms} ms", seat.address));
                }
            }
        }
        if unknown > 0 {
            let cause = Cause::new(UNKNOWN_NAME, format_args!("the sentinels know no '{name}'"));
            return if away.is_empty() {
                let message = format!("The sentinels know no '{name}': check config.name").into();
                let refusal =
                    Refusal { code: UNKNOWN_NAME, message, is_passing: false, unanswered: false, cause };
                ConnectError::Refused(refusal)
            } else {
                let message =
                    format_args!("{}; others could not be reached: {}", cause.message, shown(&away));
                ConnectError::Passing(Cause::new(UNKNOWN_NAME, message))
            };
        }
        match last {
            Some(error) if !is_passing(error) => error.clone(),
            last => {
                let code = last.map_or("ETIMEDOUT", |error| &error.cause().code);
                let message =
                    format_args!("no sentinel of {} could be reached: {}", self.0.len(), shown(&away));
                ConnectError::Passing(Cause::new(code, message))
            }
        }
    }
}

/// The stable code where no sentinel knows the name.
const UNKNOWN_NAME: &str = "ERR_SENTINEL_NAME";

fn is_passing(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Passing(_))
}

fn shown(what: &[String]) -> String {
    let more = if what.len() > SHOWN { "; …" } else { "" };
    what.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ") + more
}

#[cfg(test)]
mod tests;
