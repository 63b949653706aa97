//! The names of a lock's keys. See `docs/protocol.md`.

use lock_inc_core::{
    Resource,
    resource::{HASH_LEN, is_hash},
};

const CLIENTS: &str = ":clients";
const HOLDERS: &str = ":holders";
const QUEUE: &str = ":queue";

/// Builds and recognises the keys under one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
    fence: String,
    clients: String,
    index: String,
}

impl Keys {
    pub(crate) fn new(prefix: String) -> Self {
        let fence = format!("{prefix}fence");
        let clients = format!("{prefix}client:");
        let index = format!("{prefix}clients");
        Self { prefix, fence, clients, index }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The keys of a resource.
    pub(crate) fn of(&self, resource: &Resource) -> LockKeys<'_> {
        self.made_of(&self.prefix, resource.hash())
    }

    fn made_of(&self, prefix: &str, rest: &str) -> LockKeys<'_> {
        let [clients, holders, queue] = [CLIENTS, HOLDERS, QUEUE].map(|suffix| [prefix, rest, suffix]);
        let text = [clients, holders, queue].concat().concat();
        LockKeys { lock_len: prefix.len() + rest.len(), text, fence: &self.fence }
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

    /// The key of the lock that `key` belongs to; `None` where it is not a lock's.
    pub(crate) fn lock_of<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?;
        let (hash, suffix) = rest.split_at_checked(HASH_LEN)?;
        let is_ours =
            suffix.is_empty() || [CLIENTS, HOLDERS, QUEUE].iter().any(|ours| suffix == ours.as_bytes());
        let lock = &key[..key.len() - suffix.len()];
        if is_hash(hash) && is_ours { str::from_utf8(lock).ok() } else { None }
    }

    /// The keys of a lock, given its own.
    pub(crate) fn of_lock(&self, lock: &str) -> LockKeys<'_> {
        self.made_of(lock, "")
    }
}

/// All keys that have to do with one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LockKeys<'a> {
    /// The keys with suffixes, one behind the other.
    text: String,
    lock_len: usize,
    /// The register of the last fencing token under this prefix.
    pub(crate) fence: &'a str,
}

impl LockKeys<'_> {
    /// The lock itself: the key that lock-inc 1.2.0 increments.
    pub(crate) fn lock(&self) -> &str {
        &self.text[..self.lock_len]
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
    fn glob_characters_in_the_prefix_are_literal() {
        assert_eq!(Keys::new("a*[b]?\\".into()).pattern(), "a\\*\\[b\\]\\?\\\\*");
    }
}
