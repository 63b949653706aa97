//! What is locked: a name of the user's, known to the store by its hash only.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// Length of a hash in characters: 32 bytes in padded base64.
pub const HASH_LEN: usize = 44;

/// The name of a lock in the store: base64 of the SHA-256 of the resource's name, as lock-inc 1.2.0 makes it.
pub fn hash(name: &str) -> Arc<str> {
    let mut text = [0; HASH_LEN];
    let len = STANDARD.encode_slice(Sha256::digest(name), &mut text);
    debug_assert_eq!(len, Ok(HASH_LEN));
    str::from_utf8(&text).unwrap_or_default().into()
}

/// Whether `text` has the shape of a [`hash`]; purge uses it to tell locks from other keys.
pub fn is_hash(text: &[u8]) -> bool {
    text.len() == HASH_LEN
        && text.ends_with(b"=")
        && text[..HASH_LEN - 1].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// A resource to lock. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    name: Arc<str>,
    hash: Arc<str>,
}

impl Resource {
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), hash: hash(name) }
    }

    /// A resource of which the store has told the hash only.
    pub(crate) fn of_hash(hash: Arc<str>) -> Self {
        Self::named("".into(), hash)
    }

    /// A resource as the store has told it. `name`: for people to read; it may be [cut](crate::summary).
    pub fn named(name: Arc<str>, hash: Arc<str>) -> Self {
        Self { name, hash }
    }

    /// The name the user gave.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name's [`hash`]. Only this goes into key names.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The same, to keep.
    pub fn shared_hash(&self) -> Arc<str> {
        self.hash.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_padded_base64_of_sha256() {
        // From the NIST example for the one-block message "abc" (FIPS 180-4), in base64.
        assert_eq!(&*hash("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn every_hash_has_the_shape_of_a_hash_and_nothing_longer_has() {
        for name in ["a", "User:1602", "ключ", "\u{0}"] {
            let hashed = hash(name);
            assert!(is_hash(hashed.as_bytes()), "{hashed}");
            assert!(!is_hash(format!("{hashed}:owner").as_bytes()));
            assert!(!is_hash(format!("x{hashed}").as_bytes()));
        }
        assert!(!is_hash(b"fence"));
    }
}
