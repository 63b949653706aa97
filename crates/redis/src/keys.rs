//! The names of a lock's keys. See `docs/protocol.md`.

use std::borrow::Cow;

use lock_inc_core::{
    Resource,
    resource::{HASH_LEN, is_hash},
};

use crate::topology::slots;

const CLIENTS: &str = ":clients";
const HOLDERS: &str = ":holders";
const QUEUE: &str = ":queue";

/// Builds and recognises the keys under one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
    /// What stands in front of a hash, and behind it.
    braces: [&'static str; 2],
    fence: String,
    clients: String,
    index: String,
}

impl Keys {
    /// For one server, or one slot of a cluster.
    pub(crate) fn new(prefix: String) -> Self {
        Self::with_braces(prefix, ["", ""])
    }

    /// For a cluster: each lock is in a slot of its own, unless the prefix has a hash tag.
    pub(crate) fn in_slots(prefix: String) -> Self {
        let braces = if slots::tag(&prefix).is_some() { ["", ""] } else { ["{", "}"] };
        Self::with_braces(prefix, braces)
    }

    fn with_braces(prefix: String, braces: [&'static str; 2]) -> Self {
        let [open, close] = braces;
        let fence = format!("{prefix}fence");
        // All of them are in one slot.
        let clients = format!("{prefix}{open}client{close}:");
        let index = format!("{prefix}{open}client{close}s");
        Self { prefix, braces, fence, clients, index }
    }

    /// Whether locks are in different slots.
    pub(crate) fn are_scattered(&self) -> bool {
        self.braces != ["", ""]
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The keys of a resource.
    pub(crate) fn of(&self, resource: &Resource) -> LockKeys<'_> {
        self.of_hash(resource.hash())
    }

    /// The keys of the resource with this hash.
    pub(crate) fn of_hash(&self, hash: &str) -> LockKeys<'_> {
        let [open, close] = self.braces;
        self.made_of(&[&self.prefix, open, hash, close])
    }

    /// The keys of a lock, given its own in pieces.
    fn made_of(&self, lock: &[&str]) -> LockKeys<'_> {
        let lock_len = lock.iter().map(|piece| piece.len()).sum();
        let mut text = String::with_capacity(3 * (lock_len + CLIENTS.len()));
        for suffix in [CLIENTS, HOLDERS, QUEUE] {
            text.extend(lock.iter().copied().chain([suffix]));
        }
        let fence = if self.are_scattered() {
            let tag = slots::tag_of(slots::of_key(&text[..lock_len]));
            format!("{}{{{tag}}}fence", self.prefix).into()
        } else {
            (&self.fence).into()
        };
        LockKeys { text, lock_len, fence }
    }

    /// What the names of the clients' channels begin with; the client's id follows.
    pub(crate) fn channels(&self) -> &str {
        &self.clients
    }

    /// Who the locker with this number in its nonces is.
    pub(crate) fn client(&self, number: u64) -> String {
        format!("{}{number}", self.clients)
    }

    /// What the locker with this id holds and waits for. Its number may be another one's, too, and change.
    pub(crate) fn entry(&self, client: &str) -> String {
        format!("{}{client}:locks", self.clients)
    }

    /// The ids of the lockers that have such an entry.
    pub(crate) fn index(&self) -> &str {
        &self.index
    }

    /// A `MATCH` pattern for everything under the prefix, whatever characters the prefix has.
    pub(crate) fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.prefix.len() + 1);
        for character in self.prefix.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        pattern
    }

    /// The hash in what begins with the key of a lock, and what follows the key. None where it is not a lock's.
    pub(crate) fn parse<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str)> {
        let [open, close] = self.braces;
        let rest = text.strip_prefix(&self.prefix)?.strip_prefix(open)?;
        let (hash, rest) = rest.split_at_checked(HASH_LEN)?;
        Some((hash, rest.strip_prefix(close)?)).filter(|_| is_hash(hash.as_bytes()))
    }

    /// The key of the lock that `key` belongs to; `None` where it is not a lock's.
    pub(crate) fn lock_of<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let key = str::from_utf8(key).ok()?;
        let (_, suffix) = self.parse(key)?;
        let is_ours = suffix.is_empty() || [CLIENTS, HOLDERS, QUEUE].contains(&suffix);
        is_ours.then(|| &key[..key.len() - suffix.len()])
    }

    /// The keys of a lock, given its own.
    pub(crate) fn of_lock(&self, lock: &str) -> LockKeys<'_> {
        self.made_of(&[lock])
    }
}

/// All keys that have to do with one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LockKeys<'a> {
    /// The keys with suffixes, one behind the other.
    text: String,
    lock_len: usize,
    /// The register of the last fencing token: of all locks under this prefix that are in the same slot.
    fence: Cow<'a, str>,
}

impl LockKeys<'_> {
    /// The lock itself: the key that lock-inc 1.2.0 increments.
    pub(crate) fn lock(&self) -> &str {
        &self.text[..self.lock_len]
    }

    pub(crate) fn fence(&self) -> &str {
        &self.fence
    }

    /// Who has to do with it.
    pub(crate) fn clients(&self) -> &str {
        &self.text[..self.lock_len + CLIENTS.len()]
    }

    /// Who shares it.
    pub(crate) fn holders(&self) -> &str {
        let begin = self.lock_len + CLIENTS.len();
        &self.text[begin..begin + self.lock_len + HOLDERS.len()]
    }

    /// Who waits for it.
    pub(crate) fn queue(&self) -> &str {
        &self.text[2 * self.lock_len + CLIENTS.len() + HOLDERS.len()..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_key_is_that_of_1_2_0() {
        let keys = Keys::new("lock:".into());
        let lock = keys.of(&Resource::new("abc"));
        assert_eq!(lock.lock(), "lock:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn a_lock_is_found_by_each_of_its_keys_and_by_no_other() {
        let (keys, resource) = (Keys::new("l".into()), Resource::new("abc"));
        let all = keys.of(&resource);
        let suffixes = [(all.clients(), ":clients"), (all.holders(), ":holders"), (all.queue(), ":queue")];
        for (key, suffix) in suffixes {
            assert_eq!(key.strip_suffix(suffix), Some(all.lock()));
        }
        for key in [all.lock(), all.clients(), all.holders(), all.queue()] {
            assert_eq!(keys.of_lock(keys.lock_of(key.as_bytes()).unwrap()), all);
        }
        for key in ["lfence", "l", "", "lother:key", &format!("l2{}", resource.hash())] {
            assert_eq!(keys.lock_of(key.as_bytes()), None, "{key}");
        }
        assert_eq!(keys.lock_of(format!("{}:mine", all.lock()).as_bytes()), None);
    }

    #[test]
    fn in_a_cluster_all_keys_of_a_lock_are_in_its_slot_and_so_is_its_register() {
        let resource = Resource::new("abc");
        let keys = Keys::in_slots("lock:".into());
        let lock = keys.of(&resource);
        assert_eq!(lock.lock(), format!("lock:{{{}}}", resource.hash()));
        let slot = slots::of_key(lock.lock());
        for key in [lock.clients(), lock.holders(), lock.queue(), lock.fence()] {
            assert_eq!(slots::of_key(key), slot, "{key}");
        }
        for key in [lock.lock(), lock.clients(), lock.holders(), lock.queue()] {
            assert_eq!(keys.of_lock(keys.lock_of(key.as_bytes()).unwrap()), lock);
        }
        for key in [lock.fence(), keys.index(), &keys.client(7), &keys.entry("ab")] {
            assert_eq!(keys.lock_of(key.as_bytes()), None, "{key}");
        }
        let entries = [keys.client(7), keys.entry("ab"), keys.index().to_owned()];
        assert!(entries.iter().all(|key| slots::of_key(key) == slots::of_key(keys.index())), "{entries:?}");
        // With a hash tag in the prefix they have the names that they have without a cluster.
        let tagged =
            ["{app}:", "a{b}c"].map(|prefix| [Keys::in_slots(prefix.into()), Keys::new(prefix.into())]);
        for [keys, plain] in &tagged {
            assert_eq!(keys.of(&resource), plain.of(&resource));
            assert!(!keys.are_scattered());
        }
    }

    #[test]
    fn glob_characters_in_the_prefix_are_literal() {
        assert_eq!(Keys::new("a*[b]?\\".into()).pattern(), "a\\*\\[b\\]\\?\\\\*");
    }
}
