//! The servers of an environment, and the links to them: lockers with the same `config` share them.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Weak},
};

use lock_inc_redis::Servers;

/// Servers that are in use, or have been, by all that tells some from others.
#[derive(Default)]
pub(crate) struct SharedServers(RefCell<HashMap<Vec<u8>, Vec<Known>>>);

#[derive(Clone)]
struct Known {
    servers: Weak<Servers>,
    /// The number of the function that is their `retry_strategy`, if there is one.
    strategy: Option<usize>,
}

impl SharedServers {
    /// Those with this key, and the number of the `retry_strategy` of each.
    pub(crate) fn with_key(&self, key: &[u8]) -> impl Iterator<Item = (Arc<Servers>, Option<usize>)> + use<> {
        let known = self.0.borrow().get(key).cloned();
        known.into_iter().flatten().filter_map(|known| Some((known.servers.upgrade()?, known.strategy)))
    }

    pub(crate) fn insert(&self, key: Vec<u8>, servers: &Arc<Servers>, strategy: Option<usize>) {
        let mut all = self.0.borrow_mut();
        all.retain(|_, known| {
            known.retain(|known| known.servers.strong_count() > 0);
            !known.is_empty()
        });
        all.entry(key).or_default().push(Known { servers: Arc::downgrade(servers), strategy });
    }
}
