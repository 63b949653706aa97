//! What a locker holds: the client's side of its granted locks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{Lease, Moment, Nonce, Renewal, Resource, deadlines::Deadlines};

/// A lock that was granted to this locker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub resource: Resource,
    pub nonce: Nonce,
    /// Fencing token: increases with every grant of the resource.
    pub token: u64,
    pub lease: Lease,
    /// By then the store has surely forgotten it too: until then an unlock has something to give up.
    pub over: Moment,
    /// How it is renewed, if it is.
    pub renewal: Option<Renewal>,
    /// Whether each renewal is to be told.
    pub observed: bool,
}

/// What has to be done about a hold now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    Renew(Hold),
    /// Its lease has ended, for the client. It is told once. `unanswered`: while a renewal was under way.
    Expired {
        hold: Hold,
        unanswered: bool,
    },
}

#[derive(Debug)]
struct Entry {
    hold: Hold,
    /// When it is due; also its place in the deadlines.
    due: Moment,
    /// The end of its lease has been told. What is left is to forget it when it is over.
    expired: bool,
    /// A renewal has been asked for, and no answer has come yet.
    unanswered: bool,
    /// Something is being asked about it.
    asked: bool,
}

/// The granted locks of one locker, by resource and token, and what is due with them.
///
/// A lock that is never unlocked is forgotten when it is over, so this does not grow with the locks that were
/// ever taken.
#[derive(Debug, Default)]
pub struct Holds {
    by_hash: HashMap<Arc<str>, Vec<Entry>>,
    deadlines: Deadlines,
    /// Tokens of locks that were removed before they were among the holds, and until when to remember them.
    removed_early: HashMap<u64, Moment>,
}

/// For how long a removal may be ahead of the grant: both came over the same connection.
const REMOVED_EARLY: Duration = Duration::from_secs(10);

impl Holds {
    /// `false` if it has been removed already.
    #[must_use]
    pub fn insert(&mut self, hold: Hold) -> bool {
        if self.removed_early.remove(&hold.token).is_some() {
            return false;
        }
        self.put(hold, false);
        true
    }

    fn put(&mut self, hold: Hold, asked: bool) {
        let due = match hold.renewal {
            Some(_) => hold.lease.renewal(),
            None => hold.lease.end(),
        };
        let hash = hold.resource.shared_hash();
        self.deadlines.insert(due, hold.token, hash.clone());
        self.by_hash.entry(hash).or_default().push(Entry {
            hold,
            due,
            expired: false,
            unanswered: false,
            asked,
        });
    }

    /// The hold with this token, or else the newest.
    pub fn get(&self, hash: &str, token: Option<u64>) -> Option<&Hold> {
        let entries = self.by_hash.get(hash)?;
        entries.get(index(entries, token)?).map(|entry| &entry.hold)
    }

    /// Whether this nonce holds something here.
    pub fn has(&self, hash: &str, nonce: Nonce) -> bool {
        self.by_hash.get(hash).is_some_and(|entries| entries.iter().any(|entry| entry.hold.nonce == nonce))
    }

    /// Takes out the hold on `hash`: the one with this token, or else the newest.
    pub fn take(&mut self, hash: &str, token: Option<u64>) -> Option<Hold> {
        let entries = self.by_hash.get_mut(hash)?;
        let Entry { hold, due, .. } = entries.remove(index(entries, token)?);
        if entries.is_empty() {
            self.by_hash.remove(hash);
        }
        self.deadlines.remove(due, hold.token);
        Some(hold)
    }

    /// Takes out the hold with this token, if it is relied on.
    pub fn take_relied_on(&mut self, hash: &str, token: u64) -> Option<Hold> {
        let relied_on = self.entry(hash, token).is_some_and(|entry| !entry.expired);
        relied_on.then(|| self.take(hash, Some(token))).flatten()
    }

    /// A new lease for a hold that is still relied on. `false` if it is not any more.
    pub fn renewed(&mut self, hash: &str, token: u64, lease: Lease, over: Moment, now: Moment) -> bool {
        let Some(hold) = self.get(hash, Some(token)) else { return false };
        let renewal = hold.renewal.filter(|renewal| !renewal.once);
        let hold = Hold { lease, over, renewal, ..hold.clone() };
        self.replace(hold, now)
    }

    /// Puts a hold that is still relied on back to what it was before a new lease was [announced](Self::announce).
    pub fn restore(&mut self, hold: Hold, now: Moment) {
        self.replace(hold, now);
    }

    fn replace(&mut self, hold: Hold, now: Moment) -> bool {
        let hash = hold.resource.shared_hash();
        let Some(entry) = self.entry(&hash, hold.token).filter(|entry| !entry.expired) else { return false };
        // It has ended, and only has not been told yet.
        if entry.hold.lease.end() <= now {
            return false;
        }
        let asked = entry.asked;
        self.take(&hash, Some(hold.token));
        self.put(hold, asked);
        true
    }

    /// A new lease is about to be asked for. Its answer may be lost: so from now on the hold is relied on for no
    /// longer than that lease, and has something to give up until it would be over.
    pub fn announce(&mut self, hash: &str, token: u64, lease: Lease, over: Moment) {
        let Some(entry) = self.entry(hash, token) else { return };
        entry.hold.over = entry.hold.over.max(over);
        if entry.expired {
            let over = entry.hold.over;
            self.reschedule(hash, token, over);
        } else if lease.end() < entry.hold.lease.end() {
            entry.hold.lease = lease;
            let next = if entry.hold.renewal.is_some() { lease.renewal() } else { lease.end() };
            let due = entry.due.min(next);
            self.reschedule(hash, token, due);
        }
    }

    /// Whether nothing is being asked about this hold; from now on something is, until [`answered`](Self::answered).
    pub fn ask(&mut self, hash: &str, token: u64) -> bool {
        self.entry(hash, token).is_some_and(|entry| !std::mem::replace(&mut entry.asked, true))
    }

    pub fn answered(&mut self, hash: &str, token: u64) {
        if let Some(entry) = self.entry(hash, token) {
            entry.asked = false;
        }
    }

    /// A lock was removed of which nothing is known: its grant may still be on the way to its hold.
    pub fn removed_early(&mut self, token: u64, now: Moment) {
        self.removed_early.retain(|_, until| *until > now);
        self.removed_early.insert(token, now + REMOVED_EARLY);
    }

    /// Puts off what is due with a hold until `when`, or until its lease ends if that is before.
    pub fn put_off(&mut self, hash: &str, token: u64, when: Moment) {
        let Some(entry) = self.entry(hash, token) else { return };
        if !entry.expired {
            let when = when.min(entry.hold.lease.end());
            self.reschedule(hash, token, when);
        }
    }

    pub fn set_unanswered(&mut self, hash: &str, token: u64, unanswered: bool) {
        if let Some(entry) = self.entry(hash, token) {
            entry.unanswered = unanswered;
        }
    }

    fn reschedule(&mut self, hash: &str, token: u64, when: Moment) {
        let Some(entry) = self.entry(hash, token) else { return };
        let before = std::mem::replace(&mut entry.due, when);
        self.deadlines.remove(before, token);
        self.deadlines.insert(when, token, hash.into());
    }

    fn entry(&mut self, hash: &str, token: u64) -> Option<&mut Entry> {
        self.by_hash.get_mut(hash)?.iter_mut().find(|entry| entry.hold.token == token)
    }

    /// When something is due next.
    pub fn next_due(&self) -> Option<Moment> {
        self.deadlines.first()
    }

    /// What is due by `now`. A hold to renew stays, and is next due when its lease ends: whoever renews it says
    /// what came of it.
    pub fn due(&mut self, now: Moment) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some((hash, token)) = self.deadlines.pop_ended(now) {
            let Some(entry) = self.entry(&hash, token) else { continue };
            let hold = entry.hold.clone();
            if entry.expired {
                self.take(&hash, Some(token));
            } else if hold.lease.end() <= now {
                entry.expired = true;
                let unanswered = entry.unanswered;
                self.reschedule(&hash, token, hold.over.max(now));
                due.push(Due::Expired { hold, unanswered });
            } else {
                self.reschedule(&hash, token, hold.lease.end());
                due.push(Due::Renew(hold));
            }
        }
        due
    }

    /// The holds that are relied on.
    pub fn relied_on(&self) -> impl Iterator<Item = &Hold> {
        self.by_hash.values().flatten().filter(|entry| !entry.expired).map(|entry| &entry.hold)
    }

    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }
}

fn index(entries: &[Entry], token: Option<u64>) -> Option<usize> {
    match token {
        Some(token) => entries.iter().position(|entry| entry.hold.token == token),
        None => entries.len().checked_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nonces;

    fn hold(name: &str, token: u64, sent: Moment, ms: u64, renewed: bool) -> Hold {
        let length = Duration::from_millis(ms);
        let renewal =
            renewed.then_some(Renewal { lease: length, until: None, max_blocked: None, once: false });
        Hold {
            resource: Resource::new(name),
            nonce: Nonces::new(token.into()).next(),
            token,
            lease: Lease { sent, length },
            over: sent + length,
            renewal,
            observed: false,
        }
    }

    fn hash(name: &str) -> String {
        Resource::new(name).hash().to_owned()
    }

    #[test]
    fn a_hold_is_found_by_its_token_and_the_newest_one_without() {
        let now = Moment::at(Duration::from_secs(9));
        let mut holds = Holds::default();
        for token in [1, 2, 3] {
            assert!(holds.insert(hold("a", token, now, 1000, false)));
        }
        assert_eq!(holds.get(&hash("a"), Some(2)).unwrap().token, 2);
        assert_eq!(holds.get(&hash("a"), None).unwrap().token, 3);
        assert_eq!(holds.take(&hash("a"), Some(2)).unwrap().token, 2);
        assert_eq!(holds.take(&hash("a"), Some(2)), None);
        assert_eq!(holds.take(&hash("a"), None).unwrap().token, 3);
        assert_eq!(holds.take_relied_on(&hash("a"), 1).unwrap().token, 1);
        assert_eq!(holds.take(&hash("a"), None), None);
        assert!(holds.is_empty());
        assert_eq!(holds.next_due(), None);
    }

    #[test]
    fn a_removal_that_is_ahead_of_the_grant_is_not_forgotten() {
        let now = Moment::at(Duration::from_secs(9));
        let mut holds = Holds::default();
        holds.removed_early(7, now);
        assert!(holds.insert(hold("a", 6, now, 1000, false)));
        assert!(!holds.insert(hold("a", 7, now, 1000, false)));
        assert_eq!(holds.get(&hash("a"), Some(7)), None);
        holds.removed_early(8, now);
        holds.removed_early(9, now + REMOVED_EARLY);
        assert!(holds.insert(hold("a", 8, now, 1000, false)));
    }

    #[test]
    fn one_thing_is_asked_at_a_time_and_a_hold_has_something_to_give_up_until_what_was_asked_is_over() {
        let now = Moment::at(Duration::from_secs(9));
        let mut holds = Holds::default();
        assert!(holds.insert(hold("a", 1, now, 100, false)));
        assert!(holds.ask(&hash("a"), 1));
        assert!(!holds.ask(&hash("a"), 1));
        let longer = Lease { sent: now, length: Duration::from_secs(9) };
        let over = longer.over(now);
        holds.announce(&hash("a"), 1, longer, over);
        holds.answered(&hash("a"), 1);
        assert!(holds.ask(&hash("a"), 1));
        assert_eq!(holds.due(now + Duration::from_secs(1)).len(), 1);
        assert!(holds.get(&hash("a"), Some(1)).is_some());
        assert_eq!(holds.due(over), []);
        assert_eq!(holds.get(&hash("a"), Some(1)), None);
    }

    #[test]
    fn what_has_expired_is_due_once_and_gone_when_it_is_over() {
        let now = Moment::at(Duration::from_secs(9));
        let mut holds = Holds::default();
        for (name, token, ms) in [("a", 1, 100), ("b", 2, 200), ("a", 3, 300)] {
            assert!(holds.insert(hold(name, token, now, ms, false)));
        }
        let tokens = |due: Vec<Due>| -> Vec<u64> {
            let expired = |due| match due {
                Due::Expired { hold, .. } => hold.token,
                Due::Renew(hold) => panic!("{hold:?} is not renewed"),
            };
            due.into_iter().map(expired).collect()
        };
        let at = |ms| now + Duration::from_millis(ms);
        assert_eq!(tokens(holds.due(at(199))), [1, 2]);
        assert_eq!(tokens(holds.due(at(199))), [] as [u64; 0]);
        assert_eq!(holds.get(&hash("a"), Some(1)), None);
        assert_eq!(holds.get(&hash("b"), None).unwrap().token, 2);
        assert_eq!(holds.take_relied_on(&hash("b"), 2), None);
        assert_eq!(holds.relied_on().map(|hold| hold.token).collect::<Vec<_>>(), [3]);
        assert_eq!(tokens(holds.due(at(200))), [] as [u64; 0]);
        assert_eq!(holds.take(&hash("b"), None), None);
        assert_eq!(holds.take(&hash("a"), None).unwrap().token, 3);
    }

    #[test]
    fn a_hold_with_a_short_first_lease_is_renewed_once_unless_that_comes_to_nothing() {
        let (now, third) = (Moment::at(Duration::from_secs(9)), Duration::from_millis(100));
        let mut holds = Holds::default();
        let first = hold("a", 1, now, 300, true);
        let renewal = first.renewal.map(|renewal| Renewal { once: true, ..renewal });
        assert!(holds.insert(Hold { renewal, ..first.clone() }));
        let due = first.lease.renewal();
        assert_eq!(holds.due(due).len(), 1);
        holds.restore(Hold { renewal, ..first.clone() }, due);
        assert_eq!(holds.due(due).len(), 1);
        let lease = Lease { sent: now + third, length: third * 9 };
        assert!(holds.renewed(&hash("a"), 1, lease, lease.over(now), now + third));
        assert_eq!(holds.next_due(), Some(lease.end()));
    }

    #[test]
    fn a_renewed_hold_is_due_at_a_third_and_again_after_its_new_lease_or_at_its_end() {
        let (now, third) = (Moment::at(Duration::from_secs(9)), Duration::from_millis(100));
        let mut holds = Holds::default();
        let first = hold("a", 1, now, 300, true);
        assert!(holds.insert(first.clone()));
        assert_eq!(holds.due(now + third / 2), []);
        assert_eq!(holds.due(first.lease.renewal()), [Due::Renew(first.clone())]);
        assert_eq!(holds.next_due(), Some(first.lease.end()));

        // It worked.
        let lease = Lease { sent: now + third, length: third * 3 };
        assert!(holds.renewed(&hash("a"), 1, lease, now + third * 4, now + third));
        assert_eq!(holds.next_due(), Some(lease.renewal()));

        // A shorter one was asked for; a longer one changes nothing before it is there.
        let shorter = Lease { sent: now + third, length: third * 2 };
        for length in [third * 2, third * 9] {
            holds.announce(&hash("a"), 1, Lease { sent: now + third, length }, now);
            assert_eq!(holds.get(&hash("a"), None).unwrap().lease, shorter);
        }
        assert!(holds.renewed(&hash("a"), 1, lease, now + third * 4, now + third));

        // It did not, and is tried again, but not beyond the end of the lease.
        holds.put_off(&hash("a"), 1, now + third * 3);
        assert_eq!(holds.due(now + third * 3).len(), 1);
        holds.put_off(&hash("a"), 1, now + third * 30);
        assert!(!holds.renewed(&hash("a"), 1, lease, now + third * 4, lease.end()));
        assert!(matches!(&holds.due(lease.end())[..], [Due::Expired { unanswered: false, .. }]));
        assert!(!holds.renewed(&hash("a"), 1, lease, now + third * 4, now + third));
    }
}
