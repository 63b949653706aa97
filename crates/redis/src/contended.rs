//! Names that somebody has lately waited for, or was refused: whoever asks for one is likely to find it held, and whoever
//! gives one up to find somebody waiting. They are asked for in the way that does all of that at once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lock_inc_core::{Moment, lock};

/// For how long a name is remembered, and how many are.
const REMEMBERED: Duration = Duration::from_secs(1);
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Contended {
    /// Mostly there is none, and nothing need be looked up.
    any: AtomicBool,
    until: Mutex<HashMap<Arc<str>, Moment>>,
}

impl Contended {
    /// Somebody was in the way of somebody else.
    pub(crate) fn note(&self, hash: Arc<str>, now: Moment) {
        let mut until = lock(&self.until);
        if until.len() >= MOST {
            until.retain(|_, until| now < *until);
        }
        // Where there are more, some are not remembered. That costs one more command.
        if until.len() < MOST {
            until.insert(hash, now + REMEMBERED);
        }
        self.any.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has(&self, hash: &str, now: Moment) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let mut all = lock(&self.until);
        match all.get(hash) {
            Some(until) if now < *until => true,
            Some(_) => {
                all.remove(hash);
                self.any.store(!all.is_empty(), Ordering::Relaxed);
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_remembered_for_a_second_and_not_too_many_are() {
        let at = |ms| Moment::at(Duration::from_millis(ms));
        let contended = Contended::default();
        assert!(!contended.has("a", at(0)));
        contended.note("a".into(), at(0));
        assert!(contended.has("a", at(999)));
        assert!(!contended.has("b", at(999)));
        assert!(!contended.has("a", at(1000)));
        for number in 0..2 * MOST {
            contended.note(number.to_string().into(), at(2000));
        }
        assert_eq!(lock(&contended.until).len(), MOST);
        contended.note("later".into(), at(3000));
        assert!(contended.has("later", at(3000)));
        assert_eq!(lock(&contended.until).len(), 1);
    }
}
