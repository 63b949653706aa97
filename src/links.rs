//! The links of an environment: lockers with the same `config` share one.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Weak},
};

use lock_inc_redis::Link;

/// Links that are in use, or have been, by all that tells one from another.
#[derive(Default)]
pub(crate) struct Links(RefCell<HashMap<Vec<u8>, Vec<Known>>>);

struct Known {
    link: Weak<Link>,
    /// The number of its `retry_strategy`, if it has one.
    strategy: Option<usize>,
}

impl Links {
    /// Those with this key, and the number of the `retry_strategy` of each, which the key does not tell.
    pub(crate) fn with_key(&self, key: &[u8]) -> Vec<(Arc<Link>, Option<usize>)> {
        let links = self.0.borrow();
        let known = links.get(key).into_iter().flatten();
        known.filter_map(|known| Some((known.link.upgrade()?, known.strategy))).collect()
    }

    pub(crate) fn insert(&self, key: Vec<u8>, link: &Arc<Link>, strategy: Option<usize>) {
        let mut links = self.0.borrow_mut();
        links.retain(|_, known| {
            known.retain(|known| known.link.strong_count() > 0);
            !known.is_empty()
        });
        links.entry(key).or_default().push(Known { link: Arc::downgrade(link), strategy });
    }
}
