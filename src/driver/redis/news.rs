//! News of a locker's locks, which the server publishes on the locker's own channel.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

#[cfg(unix)]
use super::socket::Watcher;
use crate::driver::{HandOver, Notice, Notices};

/// What a connection is for, besides commands.
#[derive(Clone)]
pub struct Session {
    /// How `CLIENT LIST` shows it.
    pub name: String,
    /// Where news of this locker's locks are published.
    pub channel: String,
    /// What the names of locks begin with.
    pub prefix: String,
    pub notices: Notices,
    /// Whether messages reach us on the present connection. Not if the server's ACL forbids it.
    pub hears: Arc<AtomicBool>,
    /// Who else reads from the socket.
    #[cfg(unix)]
    pub watcher: Option<Arc<dyn Watcher>>,
}

impl Session {
    /// Takes a message of the channel. What is of another form is not for us.
    pub fn hear(&self, message: &[u8]) {
        if let Some(notice) = str::from_utf8(message).ok().and_then(|message| self.read(message)) {
            // Without a receiver the locker is no more.
            let _ = self.notices.send(notice);
        }
    }

    /// `lost <token> <lock>`, or `grant <nonce> <token> <server time in microseconds> <lease in ms> <lock>`, where the
    /// last is the key of a lock, in which the prefix may have spaces.
    fn read(&self, message: &str) -> Option<Notice> {
        let (kind, rest) = message.split_once(' ')?;
        let hash = |lock: &str| Some(Arc::from(lock.strip_prefix(&self.prefix)?));
        match kind {
            "lost" => {
                let (token, lock) = rest.split_once(' ')?;
                Some(Notice::Removed { hash: hash(lock)?, token: token.parse().ok()? })
            }
            "grant" => {
                let mut fields = rest.splitn(5, ' ');
                let nonce = fields.next()?.parse().ok()?;
                let mut number = || fields.next()?.parse().ok();
                let (token, at, lease) = (number()?, number()?, number()?);
                let hand_over = HandOver { nonce, token, lease: Duration::from_millis(lease) };
                Some(Notice::Granted {
                    hash: hash(fields.next()?)?,
                    hand_over,
                    at: Duration::from_micros(at),
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::core::Nonces;

    #[test]
    fn messages_are_read_also_with_spaces_in_the_prefix_and_others_are_passed_over() {
        let (notices, mut heard) = mpsc::unbounded_channel();
        let session = Session {
            name: String::new(),
            channel: String::new(),
            prefix: "my app ".into(),
            notices,
            hears: Arc::default(),
            #[cfg(unix)]
            watcher: None,
        };
        let nonce = Nonces::new(3).next();
        session.hear(b"lost 7 my app abc=");
        session.hear(format!("grant {nonce} 8 1700000000000000 5000 my app abc=").as_bytes());
        for other in ["", "lost", "lost x my app a", "lost 7 other", "grant n 1 2 3 my app a", "hello 1 2"] {
            session.hear(other.as_bytes());
        }
        session.hear(&[0xff, 0xfe]);
        drop(session);
        let hash: Arc<str> = "abc=".into();
        assert_eq!(heard.try_recv(), Ok(Notice::Removed { hash: hash.clone(), token: 7 }));
        let hand_over = HandOver { nonce, token: 8, lease: Duration::from_secs(5) };
        let at = Duration::from_secs(1_700_000_000);
        assert_eq!(heard.try_recv(), Ok(Notice::Granted { hash, hand_over, at }));
        assert_eq!(heard.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }
}
