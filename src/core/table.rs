//! A store of locks in memory, with the results that the scripts give in Redis.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{Contention, Holder, Moment, Nonce, Renewing, Resource, deadlines::Deadlines};

/// One attempt to take a resource, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub resource: &'a Resource,
    pub nonce: Nonce,
    pub lease: Duration,
    /// Who is asking; kept for those who come later.
    pub client: &'a str,
    pub pid: u32,
    pub host: &'a str,
    pub now: Moment,
    /// The wall clock, as time since 1970. Only tokens and `since` come from it, never a deadline.
    pub clock: Duration,
}

#[derive(Debug)]
struct Held {
    nonce: Nonce,
    holder: Holder,
    count: u64,
    until: Moment,
}

/// How a nonce stands to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Held,
    /// Nobody holds it: the lock expired or was removed.
    Gone,
    /// Somebody else holds it.
    Taken,
}

/// A lock that was taken from its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    pub hash: Arc<str>,
    pub holder: Holder,
}

/// The locks of one prefix.
#[derive(Debug, Default)]
pub struct LockTable {
    held: HashMap<Arc<str>, Held>,
    deadlines: Deadlines,
    /// The fence register: the last token given.
    last_token: u64,
}

impl LockTable {
    /// Takes the resource, or says who is in the way. The nonce that already holds it gets its token again.
    pub fn acquire(&mut self, claim: Claim) -> Result<u64, Contention> {
        self.expire(claim.now);
        if let Some(held) = self.held.get_mut(claim.resource.hash()) {
            if held.nonce == claim.nonce {
                let until = held.until.max(claim.now + claim.lease);
                let token = held.holder.token;
                self.set_lease(claim.resource.hash(), until);
                return Ok(token);
            }
            held.count += 1;
            return Err(Contention {
                count: held.count,
                holder: Some(held.holder.clone()),
                lease_left: claim.now.until(held.until),
            });
        }
        let micros = u64::try_from(claim.clock.as_micros()).unwrap_or(0);
        let token = micros.max(self.last_token + 1);
        self.last_token = token;
        let hash: Arc<str> = claim.resource.hash().into();
        let until = claim.now + claim.lease;
        let holder = Holder {
            token,
            since: Duration::from_millis(micros / 1000),
            client: claim.client.into(),
            pid: claim.pid,
            host: claim.host.into(),
        };
        self.deadlines.insert(until, token, hash.clone());
        self.held.insert(hash, Held { nonce: claim.nonce, holder, count: 1, until });
        Ok(token)
    }

    /// Renews the lease, if this nonce holds the resource.
    pub fn renew(&mut self, hash: &str, nonce: Nonce, renewing: Renewing, now: Moment) -> Standing {
        self.expire(now);
        match self.held.get(hash) {
            Some(held) if held.nonce == nonce => {
                let until = match renewing {
                    Renewing::Look => held.until,
                    Renewing::Raise(lease) => held.until.max(now + lease),
                    Renewing::Set(lease) => now + lease,
                };
                self.set_lease(hash, until);
                Standing::Held
            }
            Some(_) => Standing::Taken,
            None => Standing::Gone,
        }
    }

    /// Gives the resource up if this nonce holds it. Also how an attempt is cancelled.
    pub fn release(&mut self, hash: &str, nonce: Nonce, now: Moment) -> bool {
        self.expire(now);
        match self.held.get(hash) {
            Some(held) if held.nonce == nonce => {
                self.deadlines.remove(held.until, held.holder.token);
                self.held.remove(hash);
                true
            }
            _ => false,
        }
    }

    pub fn is_locked(&mut self, hash: &str, now: Moment) -> bool {
        self.expire(now);
        self.held.contains_key(hash)
    }

    /// Who holds the resource, as somebody sees it who does not want it.
    pub fn inspect(&mut self, hash: &str, now: Moment) -> Option<Contention> {
        self.expire(now);
        let held = self.held.get(hash)?;
        let (holder, lease_left) = (Some(held.holder.clone()), now.until(held.until));
        Some(Contention { count: held.count, holder, lease_left })
    }

    /// Takes the resource from whoever holds it.
    pub fn remove(&mut self, hash: &str, now: Moment) -> Option<Removed> {
        self.expire(now);
        let (hash, held) = self.held.remove_entry(hash)?;
        self.deadlines.remove(held.until, held.holder.token);
        Some(Removed { hash, holder: held.holder })
    }

    /// Removes every lock. Tokens go on increasing.
    pub fn purge(&mut self, now: Moment) -> Vec<Removed> {
        self.expire(now);
        self.deadlines.clear();
        self.held.drain().map(|(hash, held)| Removed { hash, holder: held.holder }).collect()
    }

    fn set_lease(&mut self, hash: &str, until: Moment) {
        let Some(held) = self.held.get_mut(hash) else { return };
        let before = std::mem::replace(&mut held.until, until);
        self.deadlines.remove(before, held.holder.token);
        self.deadlines.insert(until, held.holder.token, hash.into());
    }

    fn expire(&mut self, now: Moment) {
        while let Some((hash, _)) = self.deadlines.pop_ended(now) {
            self.held.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::Nonces;

    const CLOCK: Duration = Duration::from_secs(1_700_000_000);

    fn claim(resource: &Resource, nonce: Nonce, lease: u64, now: Moment, clock: Duration) -> Claim<'_> {
        let lease = Duration::from_millis(lease);
        Claim { resource, nonce, lease, client: "c", pid: 1, host: "h", now, clock }
    }

    #[test]
    fn contenders_are_counted_from_the_grant_on() {
        let (mut table, nonces, now) = (LockTable::default(), Nonces::new(7), Moment::now());
        let resource = Resource::new("a");
        let token = table.acquire(claim(&resource, nonces.next(), 100, now, CLOCK)).unwrap();
        for count in 2..5 {
            let contention = table.acquire(claim(&resource, nonces.next(), 100, now, CLOCK)).unwrap_err();
            assert_eq!(contention.count, count);
            assert_eq!(contention.holder.unwrap().token, token);
            assert_eq!(contention.lease_left, Duration::from_millis(100));
        }
    }

    #[test]
    fn tokens_increase_when_the_clock_steps_back_and_over_a_purge() {
        let (mut table, nonces, now) = (LockTable::default(), Nonces::new(7), Moment::now());
        let resource = Resource::new("a");
        let first = table.acquire(claim(&resource, nonces.next(), 100, now, CLOCK)).unwrap();
        assert_eq!(table.purge(now).len(), 1);
        let second = table.acquire(claim(&resource, nonces.next(), 100, now, CLOCK / 2)).unwrap();
        assert!(second > first);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Acquire { resource: usize, lease: u64 },
        Again { attempt: usize },
        Release { attempt: usize },
        Renew { attempt: usize, renewing: Renewing },
        Wait(u64),
        Purge,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0usize..3, 1u64..50).prop_map(|(resource, lease)| Step::Acquire { resource, lease }),
            1 => (0usize..20).prop_map(|attempt| Step::Again { attempt }),
            2 => (0usize..20).prop_map(|attempt| Step::Release { attempt }),
            2 => (0usize..20, 1u64..50, any::<bool>()).prop_map(|(attempt, lease, set)| {
                let lease = Duration::from_millis(lease);
                let renewing = if set { Renewing::Set(lease) } else { Renewing::Raise(lease) };
                Step::Renew { attempt, renewing }
            }),
            2 => (0u64..30).prop_map(Step::Wait),
            1 => Just(Step::Purge),
        ]
    }

    proptest! {
        /// Against a model that keeps every grant for ever: one holder at a time, whose nonce alone can release
        /// it or see its token again, and tokens that only grow.
        #[test]
        fn one_holder_at_a_time_and_growing_tokens(steps in prop::collection::vec(step(), 1..80)) {
            struct Grant { attempt: usize, token: u64, until: Moment }
            let (mut table, nonces) = (LockTable::default(), Nonces::new(3));
            let mut now = Moment::now();
            let resources = ["a", "b", "c"].map(Resource::new);
            let mut attempts: Vec<(usize, Nonce, u64)> = Vec::new();
            let mut model: [Option<Grant>; 3] = [None, None, None];
            let mut last = [0; 3];
            for step in steps {
                for slot in &mut model {
                    if slot.as_ref().is_some_and(|grant| grant.until <= now) {
                        *slot = None;
                    }
                }
                let attempt = match step {
                    Step::Wait(ms) => { now = now + Duration::from_millis(ms); continue; }
                    Step::Purge => { table.purge(now); model = [None, None, None]; continue; }
                    Step::Release { attempt } => {
                        let Some((resource, nonce, _)) = attempts.get(attempt).copied() else { continue };
                        let mine = model[resource].as_ref().is_some_and(|grant| grant.attempt == attempt);
                        prop_assert_eq!(table.release(resources[resource].hash(), nonce, now), mine);
                        if mine { model[resource] = None; }
                        continue;
                    }
                    Step::Renew { attempt, renewing } => {
                        let Some((resource, nonce, _)) = attempts.get(attempt).copied() else { continue };
                        let standing = table.renew(resources[resource].hash(), nonce, renewing, now);
                        prop_assert_eq!(standing, match &mut model[resource] {
                            Some(grant) if grant.attempt == attempt => {
                                grant.until = match renewing {
                                    Renewing::Set(lease) => now + lease,
                                    Renewing::Raise(lease) => grant.until.max(now + lease),
                                    Renewing::Look => grant.until,
                                };
                                Standing::Held
                            }
                            Some(_) => Standing::Taken,
                            None => Standing::Gone,
                        });
                        continue;
                    }
                    Step::Acquire { resource, lease } => {
                        attempts.push((resource, nonces.next(), lease));
                        attempts.len() - 1
                    }
                    Step::Again { attempt } if attempt < attempts.len() => attempt,
                    Step::Again { .. } => continue,
                };
                let (resource, nonce, lease) = attempts[attempt];
                let answer = table.acquire(claim(&resources[resource], nonce, lease, now, CLOCK));
                match (&mut model[resource], answer) {
                    (Some(grant), Ok(token)) => {
                        prop_assert_eq!(grant.attempt, attempt);
                        prop_assert_eq!(grant.token, token);
                        grant.until = grant.until.max(now + Duration::from_millis(lease));
                    }
                    (Some(grant), Err(contention)) => {
                        prop_assert_ne!(grant.attempt, attempt);
                        prop_assert_eq!(contention.lease_left, now.until(grant.until));
                    }
                    (None, Ok(token)) => {
                        prop_assert!(token > last[resource]);
                        last[resource] = token;
                        let until = now + Duration::from_millis(lease);
                        model[resource] = Some(Grant { attempt, token, until });
                    }
                    (None, Err(contention)) => prop_assert!(false, "free, but {contention:?}"),
                }
                for (resource, slot) in resources.iter().zip(&model) {
                    let held = slot.as_ref().is_some_and(|grant| grant.until > now);
                    prop_assert_eq!(table.is_locked(resource.hash(), now), held);
                }
            }
        }
    }
}
