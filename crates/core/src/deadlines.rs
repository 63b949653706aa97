//! Things that end, in the order in which they end.

use std::{collections::BTreeMap, sync::Arc};

use crate::Moment;

/// Locks by the moment at which something ends for them. A lock is named by its hash and token.
#[derive(Debug, Default)]
pub struct Deadlines {
    by_time: BTreeMap<(Moment, u64), Arc<str>>,
}

impl Deadlines {
    pub fn insert(&mut self, end: Moment, token: u64, hash: Arc<str>) {
        self.by_time.insert((end, token), hash);
    }

    pub fn remove(&mut self, end: Moment, token: u64) {
        self.by_time.remove(&(end, token));
    }

    /// What was to end at `before` ends at `end`.
    pub fn reschedule(&mut self, before: Moment, end: Moment, token: u64, hash: Arc<str>) {
        self.remove(before, token);
        self.insert(end, token, hash);
    }

    /// Takes out one lock whose lease has ended by `now`, the earliest first.
    pub fn pop_ended(&mut self, now: Moment) -> Option<(Arc<str>, u64)> {
        let first = self.by_time.first_entry()?;
        let (end, token) = *first.key();
        (end <= now).then(|| (first.remove(), token))
    }

    /// The earliest of them.
    pub fn first(&self) -> Option<Moment> {
        self.by_time.first_key_value().map(|((end, _), _)| *end)
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
            deadlines.insert(at(ms), token, "x".into());
        }
        deadlines.remove(at(10), 4);
        let ended: Vec<_> =
            std::iter::from_fn(|| deadlines.pop_ended(at(20))).map(|(_, token)| token).collect();
        assert_eq!(ended, [2, 3]);
        assert_eq!(deadlines.pop_ended(at(29)), None);
        assert_eq!(deadlines.pop_ended(at(30)).unwrap().1, 1);
    }
}
