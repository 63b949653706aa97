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

#[derive(Clone)]
struct Known {
    link: Weak<Link>,
    /// The number of the function that is its `retry_strategy`, if it has one.
    strategy: Option<usize>,
}

impl Links {
    /// Those with this key, and the number of the `retry_strategy` of each.
    pub(crate) fn with_key(&self, key: &[u8]) -> impl Iterator<Item = (Arc<Link>, Option<usize>)> + use<> {
        let known = self.0.borrow().get(key).cloned();
        known.into_iter().flatten().filter_map(|known| Some((known.link.upgrade()?, known.strategy)))
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
