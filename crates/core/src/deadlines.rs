//! Things that end, in the order in which they end.

use std::collections::BTreeMap;

use crate::Moment;

/// What ends, by the moment at which it does. Each has a key, by which it is removed, and a value, which comes out with it.
#[derive(Debug)]
pub struct Deadlines<K, V = ()> {
    by_time: BTreeMap<(Moment, K), V>,
}

impl<K: Copy + Ord, V> Deadlines<K, V> {
    pub fn insert(&mut self, end: Moment, key: K, value: V) {
        self.by_time.insert((end, key), value);
    }

    pub fn remove(&mut self, end: Moment, key: K) {
        self.by_time.remove(&(end, key));
    }

    /// What was to end at `before` ends at `end`.
    pub fn reschedule(&mut self, before: Moment, end: Moment, key: K, value: V) {
        self.remove(before, key);
        self.insert(end, key, value);
    }

    /// Takes out one that has ended by `now`, the earliest first.
    pub fn pop_ended(&mut self, now: Moment) -> Option<(K, V)> {
        let first = self.by_time.first_entry()?;
        let (end, key) = *first.key();
        (end <= now).then(|| (key, first.remove()))
    }

    /// The earliest of them.
    pub fn first(&self) -> Option<Moment> {
        self.by_time.first_key_value().map(|((end, _), _)| *end)
    }
}

impl<K, V> Default for Deadlines<K, V> {
    fn default() -> Self {
        Self { by_time: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_has_ended_comes_out_earliest_first_and_nothing_else_does() {
        let now = Moment::at(Duration::from_secs(9));
        let at = |ms| now + Duration::from_millis(ms);
        let mut deadlines = Deadlines::default();
        for (ms, token) in [(30, 1), (10, 2), (20, 3), (10, 4)] {
            deadlines.insert(at(ms), token, "x");
        }
        deadlines.remove(at(10), 4);
        let ended: Vec<_> = std::iter::from_fn(|| deadlines.pop_ended(at(20))).collect();
        assert_eq!(ended, [(2, "x"), (3, "x")]);
        assert_eq!(deadlines.pop_ended(at(29)), None);
        assert_eq!(deadlines.pop_ended(at(30)), Some((1, "x")));
    }
}
