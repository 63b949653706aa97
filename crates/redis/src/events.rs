//! What the server says on a locker's own channel of what happens to its locks.

use std::{sync::Arc, time::Duration};

use lock_inc_core::{
    Moment,
    store::{HandOver, StoreEvent},
};

use crate::keys::Keys;

/// Reads a message: `lost <nonce> <token or 0> <lock>`, which `stolen` may follow, or
/// `grant <nonce> <token> <server time in microseconds> <lease in ms> <lock>`. The lock is its key, in which the prefix may have
/// spaces. Later versions may say more behind that, and send messages of other kinds. `date`: the moment of a time of the
/// server's, or an earlier one, if that can be told.
pub(crate) fn read(
    message: &[u8],
    keys: &Keys,
    date: impl FnOnce(Duration) -> Option<Moment>,
) -> Option<StoreEvent> {
    let (kind, rest) = str::from_utf8(message).ok()?.split_once(' ')?;
    match kind {
        "lost" => {
            let mut fields = rest.splitn(3, ' ');
            let (nonce, token) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            let token = (token > 0).then_some(token);
            let (hash, more) = read_lock(fields.next()?, keys)?;
            let stolen = more.split(' ').nth(1) == Some("stolen");
            Some(StoreEvent::Removed { hash, nonce, token, stolen })
        }
        "grant" => {
            let mut fields = rest.splitn(5, ' ');
            let nonce = fields.next()?.parse().ok()?;
            let mut number = || fields.next()?.parse().ok();
            let (token, at, lease) = (number()?, number()?, number()?);
            let hand_over = HandOver { nonce, token, lease: Duration::from_millis(lease) };
            let (hash, _) = read_lock(fields.next()?, keys)?;
            Some(StoreEvent::Granted { hash, hand_over, since: date(Duration::from_micros(at)) })
        }
        _ => None,
    }
}

/// The hash in the key of a lock, and what follows the key.
fn read_lock<'a>(lock: &'a str, keys: &Keys) -> Option<(Arc<str>, &'a str)> {
    let (hash, more) = keys.parse(lock)?;
    (more.is_empty() || more.starts_with(' ')).then(|| (hash.into(), more))
}

#[cfg(test)]
mod tests {
    use lock_inc_core::{Mode, Nonces, Resource};

    use super::*;

    #[test]
    fn messages_are_read_also_with_spaces_in_the_prefix_and_others_are_passed_over() {
        let [keys, others] = ["my app ", "other "].map(|prefix| Keys::new(prefix.into()));
        let told = |message: &[u8]| read(message, &keys, |at| Some(Moment::at(at)));
        let nonce = Nonces::new(3).next(Mode::Exclusive, |_| false);
        let hash = lock_inc_core::resource::hash("abc");
        for token in [None, Some(7)] {
            for (more, stolen) in
                [("", false), (" and more", false), (" stolen", true), (" stolen more", true)]
            {
                let removed = StoreEvent::Removed { hash: hash.clone(), nonce, token, stolen };
                let message = format!("lost {nonce} {} my app {hash}{more}", token.unwrap_or(0));
                assert_eq!(told(message.as_bytes()), Some(removed));
            }
        }
        let hand_over = HandOver { nonce, token: 8, lease: Duration::from_secs(5) };
        let since = Some(Moment::at(Duration::from_secs(1_700_000_000)));
        let granted = StoreEvent::Granted { hash: hash.clone(), hand_over, since };
        let theirs = format!("lost {nonce} 8 {}", others.of(&Resource::new("abc")).lock());
        for more in ["", " shared 3"] {
            let message = format!("grant {nonce} 8 1700000000000000 5000 my app {hash}{more}");
            assert_eq!(told(message.as_bytes()), Some(granted.clone()));
        }
        let longer = format!("lost {nonce} 8 my app {hash}x");
        for other in [
            &*longer,
            &theirs,
            "",
            "lost",
            "lost x my app a",
            "lost 7 other",
            "grant n 1 2 3 my app a",
            "hello 1 2",
        ] {
            assert_eq!(told(other.as_bytes()), None, "{other}");
        }
        assert_eq!(told(&[0xff, 0xfe]), None);
    }
}
