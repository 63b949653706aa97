//! What the server says on a locker's own channel of what happens to its locks.

use std::{sync::Arc, time::Duration};

use lock_inc_core::{
    resource::HASH_LEN,
    store::{HandOver, StoreEvent},
};

/// Reads a message: `lost <nonce> <token or 0> <lock>`, which `stolen` may follow, or
/// `grant <nonce> <token> <server time in microseconds> <lease in ms> <lock>`. The lock is its key, in which the prefix may have
/// spaces. Later versions may say more behind that, and send messages of other kinds.
pub(crate) fn read(message: &[u8], prefix: &str) -> Option<StoreEvent> {
    let (kind, rest) = str::from_utf8(message).ok()?.split_once(' ')?;
    match kind {
        "lost" => {
            let mut fields = rest.splitn(3, ' ');
            let (nonce, token) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            let token = (token > 0).then_some(token);
            let (hash, more) = read_lock(fields.next()?, prefix)?;
            let stolen = more.split(' ').nth(1) == Some("stolen");
            Some(StoreEvent::Removed { hash, nonce, token, stolen })
        }
        "grant" => {
            let mut fields = rest.splitn(5, ' ');
            let nonce = fields.next()?.parse().ok()?;
            let mut number = || fields.next()?.parse().ok();
            let (token, at, lease) = (number()?, number()?, number()?);
            let hand_over = HandOver { nonce, token, lease: Duration::from_millis(lease) };
            let ((hash, _), at) = (read_lock(fields.next()?, prefix)?, Duration::from_micros(at));
            Some(StoreEvent::Granted { hash, hand_over, at })
        }
        _ => None,
    }
}

/// The hash in the key of a lock, and what follows the key.
fn read_lock<'a>(lock: &'a str, prefix: &str) -> Option<(Arc<str>, &'a str)> {
    let (hash, more) = lock.strip_prefix(prefix)?.split_at_checked(HASH_LEN)?;
    (more.is_empty() || more.starts_with(' ')).then(|| (hash.into(), more))
}

#[cfg(test)]
mod tests {
    use lock_inc_core::{Mode, Nonces};

    use super::*;

    #[test]
    fn messages_are_read_also_with_spaces_in_the_prefix_and_others_are_passed_over() {
        let prefix = "my app ";
        let nonce = Nonces::new(3).next(Mode::Exclusive, |_| false);
        let hash = lock_inc_core::resource::hash("abc");
        for token in [None, Some(7)] {
            for (more, stolen) in
                [("", false), (" and more", false), (" stolen", true), (" stolen more", true)]
            {
                let removed = StoreEvent::Removed { hash: hash.clone(), nonce, token, stolen };
                let message = format!("lost {nonce} {} my app {hash}{more}", token.unwrap_or(0));
                assert_eq!(read(message.as_bytes(), prefix), Some(removed));
            }
        }
        let hand_over = HandOver { nonce, token: 8, lease: Duration::from_secs(5) };
        let at = Duration::from_secs(1_700_000_000);
        let granted = StoreEvent::Granted { hash: hash.clone(), hand_over, at };
        for more in ["", " shared 3"] {
            let message = format!("grant {nonce} 8 1700000000000000 5000 my app {hash}{more}");
            assert_eq!(read(message.as_bytes(), prefix), Some(granted.clone()));
        }
        let longer = format!("lost {nonce} 8 my app {hash}x");
        for other in
            [&*longer, "", "lost", "lost x my app a", "lost 7 other", "grant n 1 2 3 my app a", "hello 1 2"]
        {
            assert_eq!(read(other.as_bytes(), prefix), None, "{other}");
        }
        assert_eq!(read(&[0xff, 0xfe], prefix), None);
    }
}
