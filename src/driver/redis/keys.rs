//! The names of a lock's keys. See `docs/protocol.md`.

use crate::core::{
    Resource,
    resource::{HASH_LEN, is_hash},
};

const OWNER: &str = ":owner";

/// Builds and recognises the keys under one prefix.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
    fence: String,
    channels: String,
}

impl Keys {
    pub fn new(prefix: String) -> Self {
        let fence = format!("{prefix}fence");
        let channels = format!("{prefix}client:");
        Self { prefix, fence, channels }
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The lock itself: the key that lock-inc 1.2.0 increments.
    pub fn lock(&self, resource: &Resource) -> String {
        [&self.prefix, resource.hash()].concat()
    }

    /// Who holds it.
    pub fn owner(&self, resource: &Resource) -> String {
        [&self.prefix, resource.hash(), OWNER].concat()
    }

    /// The register of the last fencing token under this prefix.
    pub fn fence(&self) -> &str {
        &self.fence
    }

    /// What the names of the clients' channels begin with; the client's id follows.
    pub fn channels(&self) -> &str {
        &self.channels
    }

    /// A `MATCH` pattern for everything under the prefix, whatever characters the prefix has.
    pub fn pattern(&self) -> String {
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

    /// The keys of the lock that `key` belongs to; `None` where it is not a lock's.
    pub fn of_lock(&self, key: &[u8]) -> Option<[Vec<u8>; 2]> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?;
        let (hash, suffix) = rest.split_at_checked(HASH_LEN)?;
        let lock = [self.prefix.as_bytes(), hash].concat();
        let owner = [&lock, OWNER.as_bytes()].concat();
        (is_hash(hash) && (suffix.is_empty() || suffix == OWNER.as_bytes())).then_some([lock, owner])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_key_is_that_of_1_2_0() {
        let keys = Keys::new("lock:".into());
        let lock = keys.lock(&Resource::new("abc"));
        assert_eq!(lock, "lock:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn a_lock_is_found_by_each_of_its_keys_and_by_no_other() {
        let (keys, resource) = (Keys::new("l".into()), Resource::new("abc"));
        let expected = [keys.lock(&resource).into_bytes(), keys.owner(&resource).into_bytes()];
        for key in &expected {
            assert_eq!(keys.of_lock(key).unwrap(), expected);
        }
        for key in ["lfence", "l", "", "lother:key", &format!("l2{}", resource.hash())] {
            assert_eq!(keys.of_lock(key.as_bytes()), None, "{key}");
        }
        assert_eq!(keys.of_lock(format!("{}:mine", keys.lock(&resource)).as_bytes()), None);
    }

    #[test]
    fn glob_characters_in_the_prefix_are_literal() {
        assert_eq!(Keys::new("a*[b]?\\".into()).pattern(), "a\\*\\[b\\]\\?\\\\*");
    }
}
