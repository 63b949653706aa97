//! What a locker holds: the client's side of its granted locks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    LeaseChange, Moment, Nonce, Resource,
    deadlines::Deadlines,
    lease::{Lease, Renewal, RenewalKind},
    locker::LostReason,
};

/// A lock that was granted to this locker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub resource: Resource,
    /// That of the attempt to which it was granted. It is the name of the hold.
    pub nonce: Nonce,
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
    Doubtful(LostReason),
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

    fn set_lease(&mut self, lease: Lease, deadlines: &mut Deadlines<Nonce>) {
        self.hold.lease = lease;
        self.unanswered = false;
        self.reschedule(self.hold.regularly_due(), deadlines);
    }

    fn reschedule(&mut self, when: Moment, deadlines: &mut Deadlines<Nonce>) {
        let before = std::mem::replace(&mut self.due, when);
        deadlines.reschedule(before, when, self.hold.nonce, ());
    }
}

/// The granted locks of one locker, and what is due with them.
///
/// A hold is found by the nonce of its attempt, which is granted a lock once: whoever has got it asks for no other. Should
/// the store grant it another one all the same, that is [no hold](Self::on_unclaimed_grant). As the nonces of a locker go
/// round, an answer that was long on its way is entered only where the token, too, is that of the hold which was asked about.
///
/// A lock that is never unlocked is forgotten when it is gone, so this does not grow with the locks that were
/// ever taken.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    by_nonce: HashMap<Nonce, Entry>,
    /// What there is of each resource, by its hash.
    by_hash: HashMap<Arc<str>, Vec<Nonce>>,
    deadlines: Deadlines<Nonce>,
    /// Locks that were removed before they were among the holds, and until when to remember them.
    removed_early: HashMap<(Nonce, Option<u64>), Moment>,
    /// The tokens of locks that are being given up. The store may tell once more that it has granted them.
    leaving: HashMap<Nonce, u64>,
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
        let (nonce, regular) = (hold.nonce, hold.regularly_due());
        let introduction = introduction.filter(|introduction| *introduction < regular);
        let due = introduction.unwrap_or(regular);
        self.deadlines.insert(due, nonce, ());
        self.by_hash.entry(hold.resource.shared_hash()).or_default().push(nonce);
        let entry = Entry {
            hold,
            due,
            introduction: introduction.is_some(),
            standing: Standing::ReliedOn,
            unanswered: false,
            asked: None,
            raised_from: Moment::at(Duration::ZERO),
        };
        let before = self.by_nonce.insert(nonce, entry);
        debug_assert!(before.is_none(), "{before:?} is overwritten");
        true
    }

    pub(crate) fn get(&self, nonce: Nonce) -> Option<&Hold> {
        self.by_nonce.get(&nonce).map(|entry| &entry.hold)
    }

    /// What has become of a hold since, if it is still here.
    pub(crate) fn current(&self, hold: &Hold) -> Option<&Hold> {
        self.get(hold.nonce).filter(|current| current.token == hold.token)
    }

    /// Whether there is anything on the resource with this hash.
    pub(crate) fn has_any(&self, hash: &str) -> bool {
        self.by_hash.contains_key(hash)
    }

    pub(crate) fn take(&mut self, nonce: Nonce) -> Option<Hold> {
        let Entry { hold, due, .. } = self.by_nonce.remove(&nonce)?;
        self.deadlines.remove(due, nonce);
        let hash = hold.resource.hash();
        if let Some(nonces) = self.by_hash.get_mut(hash) {
            nonces.retain(|other| *other != nonce);
            if nonces.is_empty() {
                self.by_hash.remove(hash);
            }
        }
        Some(hold)
    }

    /// The same for a lock that is to be given up, until it [has left](Self::on_left).
    pub(crate) fn take_to_give_up(&mut self, nonce: Nonce) -> Option<Hold> {
        let hold = self.take(nonce)?;
        // Of one that was granted at once the store has told already.
        if !hold.is_untouched {
            self.leaving.insert(nonce, hold.token);
        }
        Some(hold)
    }

    /// A lock has been given up, or that goes on in the background.
    pub(crate) fn on_left(&mut self, nonce: Nonce) {
        self.leaving.remove(&nonce);
    }

    /// Takes out the hold with this nonce, if it is the lock with this token, and relied on.
    pub(crate) fn take_relied_on(&mut self, nonce: Nonce, token: u64) -> Option<Hold> {
        let entry = self.by_nonce.get(&nonce)?;
        let is_this = entry.is_relied_on() && entry.hold.token == token;
        is_this.then(|| self.take(nonce)).flatten()
    }

    /// Takes out what there is on the resource with this hash that is not relied on any more.
    pub(crate) fn take_lost(&mut self, hash: &str) -> Vec<Hold> {
        let nonces = self.by_hash.get(hash).into_iter().flatten().copied();
        let is_lost = |nonce: &Nonce| self.by_nonce.get(nonce).is_some_and(|entry| !entry.is_relied_on());
        let lost: Vec<_> = nonces.filter(is_lost).collect();
        lost.into_iter().filter_map(|nonce| self.take(nonce)).collect()
    }

    /// How the lock of the hold's attempt was lost, if it was said that it was [removed](Self::on_removed).
    pub(crate) fn doubt(&mut self, hold: &Hold) -> Option<LostReason> {
        match self.entry(hold.nonce, hold.token)?.0.standing {
            Standing::Doubtful(reason) => Some(reason),
            Standing::ReliedOn | Standing::Over => None,
        }
    }

    /// The store has renewed a hold. `false` if it is not relied on any more.
    pub(crate) fn on_renewed(&mut self, hold: &Hold, lease: Lease, gone_by: Moment, now: Moment) -> bool {
        let Some((entry, deadlines)) = self.entry_at(hold, now) else { return false };
        entry.hold.gone_by = entry.hold.gone_by.max(gone_by);
        entry.hold.renewal = entry.hold.renewal.filter(|renewal| renewal.kind == RenewalKind::Continual);
        entry.set_lease(lease, deadlines);
        true
    }

    /// The store says that it has granted a lock to an attempt that does not wait. That may be known; the lease, where
    /// it says one, is then at least that. An answer never shortens a lease that a later command has raised.
    pub(crate) fn on_unclaimed_grant(
        &mut self,
        nonce: Nonce,
        token: u64,
        lease: Option<Lease>,
        now: Moment,
    ) -> UnclaimedGrant {
        let Some(entry) = self.by_nonce.get_mut(&nonce) else {
            // Whoever gives it up a second time may be the first, and the other one would be told that it was lost.
            let is_leaving = self.leaving.get(&nonce) == Some(&token);
            return if is_leaving { UnclaimedGrant::Known } else { UnclaimedGrant::Unwanted };
        };
        if entry.hold.token > token {
            return UnclaimedGrant::Known;
        }
        if entry.hold.token < token {
            let superseded = entry.hold.token;
            return self
                .take_relied_on(nonce, superseded)
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
            entry.set_lease(lease, &mut self.deadlines);
        }
        UnclaimedGrant::Known
    }

    /// Puts the lease of a hold that is still relied on back to what it was before another one was
    /// [anticipated](Self::anticipate), which has not come about.
    pub(crate) fn restore_lease(&mut self, before: &Hold, now: Moment) {
        if let Some((entry, deadlines)) = self.entry_at(before, now) {
            entry.set_lease(before.lease, deadlines);
        }
    }

    /// A new lease is about to be asked for. Its answer may be lost: so from now on the hold is relied on for no
    /// longer than that lease, and has something to give up until it would be gone.
    pub(crate) fn anticipate(&mut self, hold: &Hold, lease: Lease, gone_by: Moment) {
        let Some((entry, deadlines)) = self.entry(hold.nonce, hold.token) else { return };
        entry.hold.gone_by = entry.hold.gone_by.max(gone_by);
        if !entry.is_relied_on() {
            entry.reschedule(entry.hold.gone_by, deadlines);
        } else if lease.end() < entry.hold.lease.end() {
            entry.hold.lease = lease;
            entry.reschedule(entry.due.min(entry.hold.regularly_due()), deadlines);
        }
    }

    /// `None` if something is being asked about this hold already; else `asked` is, until
    /// [`end_renewal`](Self::end_renewal). Returns the number of its extensions, this one included.
    pub(crate) fn begin_renewal(&mut self, hold: &Hold, asked: LeaseChange) -> Option<u64> {
        let Some((entry, _)) = self.entry(hold.nonce, hold.token) else { return Some(0) };
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

    pub(crate) fn end_renewal(&mut self, nonce: Nonce, token: u64, now: Moment) {
        if let Some((entry, _)) = self.entry(nonce, token)
            && let Some(LeaseChange::Exactly(_)) = entry.asked.take()
        {
            entry.raised_from = now;
        }
    }

    /// The lock of an attempt was removed. Its hold is taken, if it is relied on, and if it is sure that it is this one.
    pub(crate) fn on_removed(
        &mut self,
        nonce: Nonce,
        token: Option<u64>,
        reason: LostReason,
        now: Moment,
    ) -> Removed {
        if let Some(token) = token {
            if let Some(lost) = self.take_relied_on(nonce, token) {
                return Removed::Lost(lost);
            }
        } else if let Some(entry) = self.by_nonce.get_mut(&nonce).filter(|entry| entry.is_relied_on()) {
            entry.standing = Standing::Doubtful(reason);
            return Removed::Doubtful(entry.hold.clone());
        }
        self.removed_early.retain(|_, until| *until > now);
        self.removed_early.insert((nonce, token), now + REMOVED_EARLY);
        Removed::Early
    }

    /// How a lock is kept from now on. `observed`: whether each renewal is to be told.
    pub(crate) fn keep(&mut self, nonce: Nonce, renewal: Option<Renewal>, observed: bool) {
        let Some(entry) = self.by_nonce.get_mut(&nonce) else { return };
        entry.hold.renewal = renewal;
        entry.hold.observed = observed;
        if entry.is_relied_on() {
            entry.reschedule(entry.hold.regularly_due(), &mut self.deadlines);
        }
    }

    /// Puts off what is due with a hold until `when`, or until its lease ends if that is before.
    pub(crate) fn put_off(&mut self, hold: &Hold, when: Moment) {
        if let Some((entry, deadlines)) = self.entry(hold.nonce, hold.token)
            && entry.is_relied_on()
        {
            entry.reschedule(when.min(entry.hold.lease.end()), deadlines);
        }
    }

    pub(crate) fn set_unanswered(&mut self, hold: &Hold, unanswered: bool) {
        if let Some((entry, _)) = self.entry(hold.nonce, hold.token) {
            entry.unanswered = unanswered;
        }
    }

    /// The entry of the lock with this nonce and token, and the deadlines, in which it has its place.
    fn entry(&mut self, nonce: Nonce, token: u64) -> Option<(&mut Entry, &mut Deadlines<Nonce>)> {
        let entry = self.by_nonce.get_mut(&nonce).filter(|entry| entry.hold.token == token)?;
        Some((entry, &mut self.deadlines))
    }

    /// That of a hold that is still relied on. One of which the end has only not been told yet is not.
    fn entry_at(&mut self, hold: &Hold, now: Moment) -> Option<(&mut Entry, &mut Deadlines<Nonce>)> {
        let is_running = |entry: &Entry| entry.is_relied_on() && now < entry.hold.lease.end();
        self.entry(hold.nonce, hold.token).filter(|(entry, _)| is_running(entry))
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.deadlines.first()
    }

    /// What is due by `now`. A hold to renew stays, and is next due when its lease ends: whoever renews it says
    /// what came of it.
    pub(crate) fn take_due(&mut self, now: Moment) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some((nonce, ())) = self.deadlines.pop_ended(now) {
            let Some(entry) = self.by_nonce.get_mut(&nonce) else { continue };
            let (hold, deadlines) = (entry.hold.clone(), &mut self.deadlines);
            if !entry.is_relied_on() {
                self.take(nonce);
            } else if hold.lease.end() <= now {
                entry.standing = Standing::Over;
                let unanswered = entry.unanswered;
                entry.reschedule(hold.gone_by.max(now), deadlines);
                due.push(Due::Expired { hold, unanswered });
            } else if std::mem::replace(&mut entry.introduction, false) && now < hold.regularly_due() {
                entry.reschedule(hold.regularly_due(), deadlines);
                due.push(Due::Introduce(hold));
            } else {
                entry.reschedule(hold.lease.end(), deadlines);
                due.push(Due::Renew(hold));
            }
        }
        due
    }

    /// The holds that are relied on.
    pub(crate) fn relied_on(&self) -> impl Iterator<Item = &Hold> {
        self.by_nonce.values().filter(|entry| entry.is_relied_on()).map(|entry| &entry.hold)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_nonce.is_empty()
    }
}

#[cfg(test)]
mod tests;
