//! What a locker holds: the client's side of its granted locks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    LeaseChange, Moment, Nonce, Resource,
    deadlines::Deadlines,
    lease::{Lease, Renewal, RenewalKind},
};

/// A lock that was granted to this locker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub resource: Resource,
    pub(crate) nonce: Nonce,
    /// Fencing token: increases with every grant of the resource.
    pub token: u64,
    pub(crate) lease: Lease,
    /// By then the store has surely forgotten it too: until then an unlock has something to give up.
    pub(crate) gone_by: Moment,
    /// How it is renewed, if it is.
    pub(crate) renewal: Option<Renewal>,
    /// Whether each renewal is to be told.
    pub(crate) observed: bool,
    /// How many times another lease has been set for it, or was asked to be.
    pub(crate) extensions: u64,
    /// As far as is known it was granted at once, and nothing has been asked about it since.
    pub(crate) is_untouched: bool,
}

impl Hold {
    /// When something is to be done about it, if nothing happens before.
    fn regularly_due(&self) -> Moment {
        if self.renewal.is_some() { self.lease.renew_at() } else { self.lease.end() }
    }
}

/// What the removal of a lock means for the holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// It was this one.
    Lost(Hold),
    /// It may have been this one.
    Doubtful(Hold),
    /// None of them. Its grant may still be on the way.
    Early,
}

/// What has to be done about a hold now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Renew(Hold),
    /// The store is to learn who holds it.
    Introduce(Hold),
    /// Its lease has ended, for the client. It is told once. `unanswered`: while a renewal was under way.
    Expired {
        hold: Hold,
        unanswered: bool,
    },
}

/// What the store's word that an attempt was granted a lock means beside what is held already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnclaimedGrant {
    /// The lock is held, and known to be, or a later one of the same attempt is.
    Known,
    /// Nobody wants this lock (any more): it is to be given back.
    Unwanted,
    /// The same; and the attempt's earlier lock, which is still relied on, is gone. It is no hold any more.
    Superseded(Hold),
}

#[derive(Debug)]
struct Entry {
    hold: Hold,
    /// When it is due; also its place in the deadlines.
    due: Moment,
    /// It is to be introduced at the next occasion.
    introduction: bool,
    standing: Standing,
    /// A renewal has been asked for, and no answer has come yet.
    unanswered: bool,
    /// What is being asked about it.
    asked: Option<LeaseChange>,
    /// A lease was set, perhaps a shorter one: what a command has raised that left before this is of no account any
    /// more, as it may have been carried out before.
    raised_from: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    ReliedOn,
    /// As well, but it was said that the attempt's lock was removed, which may have been another one.
    Doubtful,
    /// The end of its lease has been told. What is left is to forget it when it is gone.
    Over,
}

impl Entry {
    fn is_relied_on(&self) -> bool {
        self.standing != Standing::Over
    }

    /// Whether a lease that was raised by a command that left at `sent` is the store's last word.
    fn may_be_raised(&self, sent: Moment) -> bool {
        !matches!(self.asked, Some(LeaseChange::Exactly(_))) && sent >= self.raised_from
    }
}

/// The granted locks of one locker, by resource and token, and what is due with them.
///
/// A lock that is never unlocked is forgotten when it is gone, so this does not grow with the locks that were
/// ever taken.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    by_hash: HashMap<Arc<str>, Vec<Entry>>,
    deadlines: Deadlines,
    /// Tokens of locks that were removed before they were among the holds, and until when to remember them.
    removed_early: HashMap<(Nonce, Option<u64>), Moment>,
}

/// For how long a removal may be ahead of the grant: both came over the same connection.
const REMOVED_EARLY: Duration = Duration::from_secs(10);

impl Holds {
    /// `introduction`: when the store is to learn who holds it, if it must be told. `false` if it has been removed already.
    #[must_use]
    pub(crate) fn insert(&mut self, hold: Hold, introduction: Option<Moment>) -> bool {
        // Once: the attempt may be granted another one, sent again.
        let is_empty = self.removed_early.is_empty();
        let mut was_removed = |token| self.removed_early.remove(&(hold.nonce, token)).is_some();
        if !is_empty && (was_removed(Some(hold.token)) || was_removed(None)) {
            return false;
        }
        let regular = hold.regularly_due();
        let introduction = introduction.filter(|introduction| *introduction < regular);
        let due = introduction.unwrap_or(regular);
        let hash = hold.resource.shared_hash();
        self.deadlines.insert(due, hold.token, hash.clone());
        let raised_from = Moment::at(Duration::ZERO);
        let entry = Entry {
            hold,
            due,
            introduction: introduction.is_some(),
            standing: Standing::ReliedOn,
            unanswered: false,
            asked: None,
            raised_from,
        };
        self.by_hash.entry(hash).or_default().push(entry);
        true
    }

    /// The hold with this token, or else the newest.
    pub(crate) fn get(&self, hash: &str, token: Option<u64>) -> Option<&Hold> {
        let entries = self.by_hash.get(hash)?;
        entries.get(index(entries, token)?).map(|entry| &entry.hold)
    }

    /// Whether this nonce holds something here.
    pub(crate) fn has(&self, hash: &str, nonce: Nonce) -> bool {
        self.by_hash.get(hash).is_some_and(|entries| entries.iter().any(|entry| entry.hold.nonce == nonce))
    }

    /// Takes out the hold on `hash`: the one with this token, or else the newest.
    pub(crate) fn take(&mut self, hash: &str, token: Option<u64>) -> Option<Hold> {
        let entries = self.by_hash.get_mut(hash)?;
        let Entry { hold, due, .. } = entries.remove(index(entries, token)?);
        if entries.is_empty() {
            self.by_hash.remove(hash);
        }
        self.deadlines.remove(due, hold.token);
        Some(hold)
    }

    /// Takes out the hold with this token, if it is relied on.
    pub(crate) fn take_relied_on(&mut self, hash: &str, token: u64) -> Option<Hold> {
        let relied_on = self.entry(hash, token).is_some_and(|entry| entry.is_relied_on());
        relied_on.then(|| self.take(hash, Some(token))).flatten()
    }

    /// Whether it was said that the lock of the hold's attempt was [removed](Self::on_removed).
    pub(crate) fn is_doubtful(&mut self, hash: &str, token: u64) -> bool {
        self.entry(hash, token).is_some_and(|entry| entry.standing == Standing::Doubtful)
    }

    /// The store has renewed a hold. `false` if it is not relied on any more.
    pub(crate) fn on_renewed(
        &mut self,
        hash: &str,
        token: u64,
        lease: Lease,
        gone_by: Moment,
        now: Moment,
    ) -> bool {
        let Some(entry) = self.entry_at(hash, token, now) else { return false };
        entry.hold.gone_by = entry.hold.gone_by.max(gone_by);
        entry.hold.renewal = entry.hold.renewal.filter(|renewal| renewal.kind == RenewalKind::Continual);
        self.set_lease(hash, token, lease);
        true
    }

    /// The store says that it has granted a lock to an attempt that does not wait. That may be known; the lease, where
    /// it says one, is then at least that. An answer never shortens a lease that a later command has raised.
    pub(crate) fn on_unclaimed_grant(
        &mut self,
        hash: &str,
        nonce: Nonce,
        token: u64,
        lease: Option<Lease>,
        now: Moment,
    ) -> UnclaimedGrant {
        let entries = self.by_hash.get_mut(hash).into_iter().flatten();
        let newest = entries.filter(|entry| entry.hold.nonce == nonce).max_by_key(|entry| entry.hold.token);
        let Some(entry) = newest else { return UnclaimedGrant::Unwanted };
        if entry.hold.token > token {
            return UnclaimedGrant::Known;
        }
        if entry.hold.token < token {
            let superseded = entry.hold.token;
            return self
                .take_relied_on(hash, superseded)
                .map_or(UnclaimedGrant::Unwanted, UnclaimedGrant::Superseded);
        }
        let relied_on = entry.is_relied_on() && now < entry.hold.lease.end();
        let Some(lease) = lease else { return UnclaimedGrant::Known };
        let (raises, ends) = (entry.may_be_raised(lease.sent), lease.end());
        if !relied_on {
            // The store may keep it for longer than has been known.
            return if now < ends { UnclaimedGrant::Unwanted } else { UnclaimedGrant::Known };
        }
        entry.hold.gone_by = entry.hold.gone_by.max(lease.gone_by(now));
        if raises && ends > entry.hold.lease.end() {
            let whole = |renewal: &Renewal| lease.length >= renewal.lease;
            entry.hold.renewal = entry
                .hold
                .renewal
                .filter(|renewal| renewal.kind == RenewalKind::Continual || !whole(renewal));
            self.set_lease(hash, token, lease);
        }
        UnclaimedGrant::Known
    }

    /// Puts the lease of a hold that is still relied on back to what it was before another one was
    /// [anticipated](Self::anticipate), which has not come about.
    pub(crate) fn restore_lease(&mut self, hash: &str, token: u64, lease: Lease, now: Moment) {
        if self.entry_at(hash, token, now).is_some() {
            self.set_lease(hash, token, lease);
        }
    }

    fn set_lease(&mut self, hash: &str, token: u64, lease: Lease) {
        let Some(entry) = self.entry(hash, token) else { return };
        entry.hold.lease = lease;
        entry.unanswered = false;
        let due = if entry.hold.renewal.is_some() { lease.renew_at() } else { lease.end() };
        self.reschedule(hash, token, due);
    }

    /// A new lease is about to be asked for. Its answer may be lost: so from now on the hold is relied on for no
    /// longer than that lease, and has something to give up until it would be gone.
    pub(crate) fn anticipate(&mut self, hash: &str, token: u64, lease: Lease, gone_by: Moment) {
        let Some(entry) = self.entry(hash, token) else { return };
        entry.hold.gone_by = entry.hold.gone_by.max(gone_by);
        if !entry.is_relied_on() {
            let gone_by = entry.hold.gone_by;
            self.reschedule(hash, token, gone_by);
        } else if lease.end() < entry.hold.lease.end() {
            entry.hold.lease = lease;
            let next = if entry.hold.renewal.is_some() { lease.renew_at() } else { lease.end() };
            let due = entry.due.min(next);
            self.reschedule(hash, token, due);
        }
    }

    /// `None` if something is being asked about this hold already; else `asked` is, until
    /// [`end_renewal`](Self::end_renewal). Returns the number of its extensions, this one included.
    pub(crate) fn begin_renewal(&mut self, hash: &str, token: u64, asked: LeaseChange) -> Option<u64> {
        let Some(entry) = self.entry(hash, token) else { return Some(0) };
        if entry.asked.is_some() {
            return None;
        }
        entry.asked = Some(asked);
        entry.hold.is_untouched = false;
        if matches!(asked, LeaseChange::Exactly(_)) {
            entry.hold.extensions += 1;
        }
        Some(entry.hold.extensions)
    }

    pub(crate) fn end_renewal(&mut self, hash: &str, token: u64, now: Moment) {
        if let Some(entry) = self.entry(hash, token)
            && let Some(LeaseChange::Exactly(_)) = entry.asked.take()
        {
            entry.raised_from = now;
        }
    }

    /// The lock of an attempt was removed. Its hold is taken, if it is relied on, and if it is sure that it is this one.
    pub(crate) fn on_removed(
        &mut self,
        hash: &str,
        nonce: Nonce,
        token: Option<u64>,
        now: Moment,
    ) -> Removed {
        if let Some(token) = token {
            if let Some(lost) = self.take_relied_on(hash, token) {
                return Removed::Lost(lost);
            }
        } else {
            let entries = self.by_hash.get_mut(hash).into_iter().flatten();
            let mut relied_on = entries.filter(|entry| entry.hold.nonce == nonce && entry.is_relied_on());
            if let Some(entry) = relied_on.next() {
                entry.standing = Standing::Doubtful;
                return Removed::Doubtful(entry.hold.clone());
            }
        }
        self.removed_early.retain(|_, until| *until > now);
        self.removed_early.insert((nonce, token), now + REMOVED_EARLY);
        Removed::Early
    }

    /// Puts off what is due with a hold until `when`, or until its lease ends if that is before.
    pub(crate) fn put_off(&mut self, hash: &str, token: u64, when: Moment) {
        let Some(entry) = self.entry(hash, token) else { return };
        if entry.is_relied_on() {
            let when = when.min(entry.hold.lease.end());
            self.reschedule(hash, token, when);
        }
    }

    pub(crate) fn set_unanswered(&mut self, hash: &str, token: u64, unanswered: bool) {
        if let Some(entry) = self.entry(hash, token) {
            entry.unanswered = unanswered;
        }
    }

    fn reschedule(&mut self, hash: &str, token: u64, when: Moment) {
        let Some(entry) = self.entry(hash, token) else { return };
        let before = std::mem::replace(&mut entry.due, when);
        self.deadlines.reschedule(before, when, token, hash.into());
    }

    fn entry(&mut self, hash: &str, token: u64) -> Option<&mut Entry> {
        self.by_hash.get_mut(hash)?.iter_mut().find(|entry| entry.hold.token == token)
    }

    /// The entry of a hold that is still relied on. One of which the end has only not been told yet is not.
    fn entry_at(&mut self, hash: &str, token: u64, now: Moment) -> Option<&mut Entry> {
        self.entry(hash, token).filter(|entry| entry.is_relied_on() && now < entry.hold.lease.end())
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.deadlines.first()
    }

    /// What is due by `now`. A hold to renew stays, and is next due when its lease ends: whoever renews it says
    /// what came of it.
    pub(crate) fn take_due(&mut self, now: Moment) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some((hash, token)) = self.deadlines.pop_ended(now) {
            let Some(entry) = self.entry(&hash, token) else { continue };
            let hold = entry.hold.clone();
            if !entry.is_relied_on() {
                self.take(&hash, Some(token));
            } else if hold.lease.end() <= now {
                entry.standing = Standing::Over;
                let unanswered = entry.unanswered;
                self.reschedule(&hash, token, hold.gone_by.max(now));
                due.push(Due::Expired { hold, unanswered });
            } else if std::mem::replace(&mut entry.introduction, false) && now < hold.regularly_due() {
                self.reschedule(&hash, token, hold.regularly_due());
                due.push(Due::Introduce(hold));
            } else {
                self.reschedule(&hash, token, hold.lease.end());
                due.push(Due::Renew(hold));
            }
        }
        due
    }

    /// The holds that are relied on.
    pub(crate) fn relied_on(&self) -> impl Iterator<Item = &Hold> {
        self.by_hash.values().flatten().filter(|entry| entry.is_relied_on()).map(|entry| &entry.hold)
    }

    pub(crate) fn is_empty(&self) -> bool {
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
mod tests;
