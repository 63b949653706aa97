//! Who the lockers are, by the numbers in their nonces. A lock that has just been taken says nothing else of its holder, as
//! it costs the server less so; nothing but what errors and inspections tell depends on it.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use lock_inc_core::{Identity, Moment, lock};

/// What a locker knows of itself and of others.
#[derive(Debug)]
pub(crate) struct Clients {
    identity: Identity,
    written: Mutex<Option<Written>>,
    others: Mutex<HashMap<u64, (Moment, Identity)>>,
}

/// What the server has been told of this locker last.
#[derive(Debug)]
struct Written {
    number: u64,
    /// 0: it is on its way, over the first one.
    connection: u32,
    until: Moment,
}

/// For how long the server keeps it beyond the lease that it was told for.
const KEPT: Duration = Duration::from_mins(1);
/// For how long what the server has said of another locker is not asked for again, and of how many.
const KNOWN: Duration = Duration::from_secs(10);
const MOST: usize = 256;

impl Clients {
    pub(crate) fn new(identity: Identity) -> Self {
        Self { identity, written: Mutex::default(), others: Mutex::default() }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the server is to be told now that this locker has a number, and for how long that is to be kept: at least as
    /// long as what it takes now. It is told again on another connection, whose server may not have heard of it.
    pub(crate) fn due(&self, number: u64, connection: u32, lease: Duration, now: Moment) -> Option<Duration> {
        let mut written = lock(&self.written);
        let is_told = |written: &Written| {
            let is_there = [0, connection].contains(&written.connection);
            written.number == number && is_there && now + lease <= written.until
        };
        if written.as_ref().is_some_and(is_told) {
            return None;
        }
        let kept = lease + KEPT;
        *written = Some(Written { number, connection, until: now + kept });
        Some(kept)
    }

    /// The server has been told, over this connection.
    pub(crate) fn on_told(&self, connection: u32) {
        let mut written = lock(&self.written);
        if let Some(written) = written.as_mut().filter(|written| written.connection == 0) {
            written.connection = connection;
        }
    }

    /// Who has a number, if that is known here.
    pub(crate) fn known(&self, number: u64, now: Moment) -> Option<Identity> {
        if lock(&self.written).as_ref().is_some_and(|written| written.number == number) {
            return Some(self.identity.clone());
        }
        let others = lock(&self.others);
        let (until, identity) = others.get(&number)?;
        (now < *until).then(|| identity.clone())
    }

    /// The server has said who has a number.
    pub(crate) fn learn(&self, number: u64, identity: Identity, now: Moment) {
        let mut others = lock(&self.others);
        if others.len() >= MOST {
            others.retain(|_, (until, _)| now < *until);
        }
        if others.len() < MOST {
            others.insert(number, (now + KNOWN, identity));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::at(Duration::from_secs(secs))
    }

    fn identity(client: &str) -> Identity {
        Identity { client: client.into(), pid: 1, host: "h".into() }
    }

    #[test]
    fn a_locker_is_told_of_for_longer_than_its_leases_and_again_on_another_connection() {
        let clients = Clients::new(identity("me"));
        let lease = Duration::from_secs(30);
        assert_eq!(clients.known(7, at(0)), None);
        assert_eq!(clients.due(7, 0, lease, at(0)), Some(lease + KEPT));
        assert_eq!(clients.known(7, at(0)), Some(identity("me")));
        assert_eq!(clients.due(7, 5, lease, at(0)), None);
        clients.on_told(5);
        assert_eq!(clients.due(7, 5, lease, at(60)), None);
        assert_eq!(clients.due(7, 5, lease, at(61)), Some(lease + KEPT));
        assert_eq!(clients.due(7, 6, lease, at(61)), Some(lease + KEPT));
        clients.on_told(9);
        assert_eq!(clients.due(7, 6, 4 * lease, at(61)), Some(4 * lease + KEPT));
        assert_eq!(clients.due(8, 6, lease, at(61)), Some(lease + KEPT));
        assert_eq!(clients.known(7, at(61)), None);
    }

    #[test]
    fn what_was_told_of_others_is_known_for_a_while_and_of_not_too_many() {
        let clients = Clients::new(identity("me"));
        for number in 0..1000 {
            clients.learn(number, identity("other"), at(0));
        }
        assert_eq!(clients.known(0, at(9)), Some(identity("other")));
        assert_eq!(clients.known(0, at(10)), None);
        assert_eq!(lock(&clients.others).len(), MOST);
        clients.learn(1000, identity("new"), at(11));
        assert_eq!(clients.known(1000, at(11)), Some(identity("new")));
    }
}
