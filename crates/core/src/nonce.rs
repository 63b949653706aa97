//! One lock attempt's identity. It makes every command idempotent: whatever was sent twice is recognised.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// 128 bits that no other attempt of any process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(u128);

impl Nonce {
    /// 22 characters of base64url: the form it has in the store.
    pub fn text(self) -> [u8; 22] {
        let mut text = [0; 22];
        let len = URL_SAFE_NO_PAD.encode_slice(self.0.to_be_bytes(), &mut text);
        debug_assert_eq!(len, Ok(text.len()));
        text
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

/// What is not the text of a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANonce;

impl FromStr for Nonce {
    type Err = NotANonce;

    fn from_str(text: &str) -> Result<Self, NotANonce> {
        let mut bytes = [0; 16];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(16) => Ok(Self(u128::from_be_bytes(bytes))),
            _ => Err(NotANonce),
        }
    }
}

/// A locker's source of nonces: a random start, then counting on.
///
/// Two lockers would have to start within the number of locks they ever take of each other, in a space of
/// 2^128, to meet; and counting costs nothing per attempt.
#[derive(Debug)]
pub struct Nonces {
    start: u128,
    given: AtomicU64,
}

impl Nonces {
    /// `start`: 128 random bits.
    pub fn new(start: u128) -> Self {
        Self { start, given: AtomicU64::new(0) }
    }

    pub fn next(&self) -> Nonce {
        Nonce(self.start.wrapping_add(self.given.fetch_add(1, Ordering::Relaxed).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_differ_also_where_the_start_wraps_around() {
        let nonces = Nonces::new(u128::MAX);
        let [first, second] = [nonces.next(), nonces.next()];
        assert_ne!(first, second);
        assert_eq!(first.to_string(), "_____________________w");
        assert_eq!(second.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn a_nonce_is_read_back_as_it_was_written_and_nothing_else_is_read() {
        let nonce = Nonces::new(0x1234_5678_9abc_def0_1122_3344_5566_7788).next();
        assert_eq!(nonce.to_string().parse(), Ok(nonce));
        for text in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAA*"] {
            assert_eq!(text.parse::<Nonce>(), Err(NotANonce), "{text}");
        }
    }
}
