//! What a locker holds: the client's side of its granted locks.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Nonce, Resource, deadlines::Deadlines};

/// A lock that was granted to this locker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub resource: Resource,
    pub nonce: Nonce,
    /// Fencing token: increases with every grant of the resource.
    pub token: u64,
    /// From here on the lock cannot be relied on. See [`lease_end`].
    pub deadline: Instant,
    /// By then the store has surely forgotten it too. See [`lease_over`].
    pub over: Instant,
}

/// When a lease has ended for the client, which is before it ends for the server.
///
/// Counted from the moment the command that set it was sent, never from its reply, and shortened by a margin for
/// clocks that run at different speeds: 1 % of the lease and 2 ms, as in the Redlock algorithm
/// (<https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>).
pub fn lease_end(sent: Instant, lease: Duration) -> Instant {
    let margin = lease / 100 + Duration::from_millis(2);
    sent + lease.saturating_sub(margin)
}

/// When a lease has ended for the server too, the reply taken into account that came at `received`: the margin of
/// [`lease_end`] to the other side. Until then an unlock has something to give up.
pub fn lease_over(received: Instant, lease: Duration) -> Instant {
    received + lease + lease / 100 + Duration::from_millis(2)
}

/// The granted locks of one locker, by resource and token.
///
/// A lock that is never unlocked is forgotten when its lease is over, so this does not grow with the locks that were
/// ever taken.
#[derive(Debug, Default)]
pub struct Holds {
    by_hash: HashMap<Arc<str>, Vec<Hold>>,
    deadlines: Deadlines,
}

impl Holds {
    pub fn insert(&mut self, hold: Hold) {
        let hash: Arc<str> = hold.resource.hash().into();
        self.deadlines.insert(hold.over, hold.token, hash.clone());
        self.by_hash.entry(hash).or_default().push(hold);
    }

    /// Takes out the hold on `hash`: the one with this token, or else the newest.
    pub fn take(&mut self, hash: &str, token: Option<u64>) -> Option<Hold> {
        let holds = self.by_hash.get_mut(hash)?;
        let index = match token {
            Some(token) => holds.iter().position(|hold| hold.token == token)?,
            None => holds.len().checked_sub(1)?,
        };
        let hold = holds.remove(index);
        if holds.is_empty() {
            self.by_hash.remove(hash);
        }
        self.deadlines.remove(hold.over, hold.token);
        Some(hold)
    }

    /// Forgets what is over by `now`.
    pub fn forget_over(&mut self, now: Instant) {
        while let Some((hash, token)) = self.deadlines.pop_ended(now) {
            self.take(&hash, Some(token));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Nonces;

    fn hold(name: &str, token: u64, deadline: Instant) -> Hold {
        let (resource, nonce) = (Resource::new(name), Nonces::new(token.into()).next());
        Hold { resource, nonce, token, deadline, over: deadline }
    }

    #[test]
    fn the_lease_ends_for_the_client_before_it_ends_for_the_server() {
        let sent = Instant::now();
        assert_eq!(lease_end(sent, Duration::from_mins(1)), sent + Duration::from_millis(59_398));
        assert_eq!(lease_end(sent, Duration::from_millis(1)), sent);
    }

    #[test]
    fn a_hold_is_found_by_its_token_and_the_newest_one_without() {
        let end = Instant::now() + Duration::from_secs(1);
        let mut holds = Holds::default();
        for token in [1, 2, 3] {
            holds.insert(hold("a", token, end));
        }
        let hash = Resource::new("a").hash().to_owned();
        assert_eq!(holds.take(&hash, Some(2)).unwrap().token, 2);
        assert_eq!(holds.take(&hash, Some(2)), None);
        assert_eq!(holds.take(&hash, None).unwrap().token, 3);
        assert_eq!(holds.take(&hash, None).unwrap().token, 1);
        assert_eq!(holds.take(&hash, None), None);
    }

    #[test]
    fn only_what_is_over_is_forgotten() {
        let now = Instant::now();
        let mut holds = Holds::default();
        for (name, token, ms) in [("a", 1, 10), ("b", 2, 20), ("a", 3, 30)] {
            holds.insert(hold(name, token, now + Duration::from_millis(ms)));
        }
        holds.forget_over(now + Duration::from_millis(20));
        assert_eq!(holds.take(Resource::new("b").hash(), None), None);
        assert_eq!(holds.take(Resource::new("a").hash(), None).unwrap().token, 3);
        assert_eq!(holds.take(Resource::new("a").hash(), None), None);
    }
}
