//! Everything that is held and waited for under the prefix.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::Locker;
use crate::{Hold, Holder, Holding, Identity, Inspection, Resource, Waiter, error::Result};

/// What is held and waited for, as the Web Locks have it: by this locker to the moment, by others as far as they have told.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// In the order of the grants, as far as these are known.
    pub held: Vec<(Resource, Holder, Duration)>,
    /// In order of arrival.
    pub pending: Vec<(Resource, Waiter)>,
}

impl Locker {
    pub async fn query(self: Arc<Self>) -> Result<Snapshot> {
        let listed = self.store.list(self.deadline()).await?;
        let own = self.held.relied_on();
        let mut modes = HashMap::new();
        for Hold { resource, nonce, .. } in &own {
            modes.entry(resource.hash()).or_insert_with(|| nonce.is_shared());
        }
        let mut snapshot = Snapshot::default();
        for (resource, Inspection { holders, waiters, .. }) in listed {
            // Whoever cannot have it beside this locker has it no more.
            let own = modes.get(resource.hash());
            let fits = |holder: &Holder| own.is_none_or(|is_shared| *is_shared && holder.nonce.is_shared());
            let known = |holding: Holding| Some((holding.holder?, holding.lease_left));
            let held = holders.into_iter().filter_map(known);
            let others = held.filter(|(holder, _)| fits(holder) && !self.is_own(holder));
            snapshot.held.extend(others.map(|(holder, left)| (resource.clone(), holder, left)));
            let others = waiters.into_iter().filter(|waiter| !self.is_me(&waiter.identity));
            snapshot.pending.extend(others.map(|waiter| (resource.clone(), waiter)));
        }
        self.add_own(own, &mut snapshot);
        snapshot.held.sort_by_key(|(_, holder, _)| holder.token.unwrap_or(u64::MAX));
        snapshot.pending.sort_by_key(|(_, waiter)| waiter.since);
        Ok(snapshot)
    }

    fn is_own(&self, holder: &Holder) -> bool {
        // By the nonce, too, where the store does not know whose it is.
        holder.identity.as_ref().is_some_and(|identity| self.is_me(identity)) || self.held.has(holder.nonce)
    }

    /// By the id alone: the store may have the host's name in another form.
    fn is_me(&self, identity: &Identity) -> bool {
        identity.client == self.store.identity().client
    }

    fn add_own(&self, holds: Vec<Hold>, snapshot: &mut Snapshot) {
        let identity = self.store.identity();
        let now = self.now();
        for hold in holds {
            let (token, identity) = (Some(hold.token), Some(identity.clone()));
            let left = now.until(hold.lease.end());
            snapshot.held.push((hold.resource, Holder { nonce: hold.nonce, token, identity }, left));
        }
        for (resource, ticket, mode) in self.waiting.lock().all_in_queue() {
            let since = Duration::from_micros(ticket);
            snapshot.pending.push((resource, Waiter { since, mode, identity: identity.clone() }));
        }
    }
}
