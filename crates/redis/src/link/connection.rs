//! One connection: commands leave in the order in which they are sent, and each reply settles its command when it comes.
//!
//! Any thread may send and read. Nothing here is a task that has to be woken first: who sends writes to the socket, and
//! who finds that something has come reads it and settles what was waited for. What remains, and what a thread that is
//! busy leaves undone, is done by [`drive`](Connection::drive).

#[cfg(unix)]
use std::os::fd::AsFd;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lock_inc_core::{error::Cause, lock};
use redis::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

#[cfg(unix)]
use self::receiving::Reader;
pub(crate) use self::{
    batch::{Calls, Gathered, Part},
    sending::Command,
};
use self::{receiving::Receiving, sending::Sending, vigil::Vigil};
#[cfg(unix)]
use super::socket::Watcher;
use super::{Expectations, transport::Transport};

mod batch;
mod receiving;
mod sending;
mod shards;
mod vigil;

/// What becomes of a command: the server's reply, which may be an error of its own, or why there is none.
pub(crate) type Answer = Result<Value, Cause>;

/// Who hears what the server says by itself.
pub(crate) trait Messages: Send + Sync {
    fn on_message(&self, channel: &[u8], message: &[u8]);
}

/// How the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// Replies, and messages that are marked as such (RESP3), if any come.
    Replies,
    /// Nothing but messages and what belongs to subscriptions: a RESP2 connection that is subscribed.
    Messages,
}

pub(crate) struct Connection {
    speech: Speech,
    sending: Mutex<Sending>,
    receiving: Mutex<Receiving>,
    messages: Arc<dyn Messages>,
    #[cfg(unix)]
    watcher: Option<Arc<dyn Watcher>>,
    /// Values that have come.
    heard: AtomicU64,
    vigil: Vigil,
    /// Something is to be written by whoever drives the connection.
    unwritten: Notify,
    /// Nothing has been heard for so long that the connection may be dead.
    silent: Notify,
    /// How many values had come when that was said last.
    silent_at: AtomicU64,
    ended: CancellationToken,
    why: OnceLock<Cause>,
}

impl Connection {
    /// `watcher`: who reads as well, when it has time.
    pub(crate) fn new(
        transport: Transport,
        speech: Speech,
        messages: Arc<dyn Messages>,
        expectations: Arc<Expectations>,
        #[cfg(unix)] watcher: Option<Arc<dyn Watcher>>,
    ) -> std::io::Result<Arc<Self>> {
        #[cfg(unix)]
        let reader = Arc::<Reader>::default();
        // Not the other way round: no watcher is left with a socket for which there is no connection.
        #[cfg(unix)]
        let (transport, watcher) = match watcher {
            None => (transport, None),
            Some(watcher) => {
                let transport = transport.with_reading(false)?;
                match watcher.watch(transport.socket().as_fd(), reader.clone()) {
                    Ok(()) => (transport, Some(watcher)),
                    Err(_) => (transport.with_reading(true)?, None),
                }
            }
        };
        let transport = Arc::new(transport);
        let connection = Arc::new(Self {
            speech,
            sending: Mutex::new(Sending::over(transport.clone())),
            receiving: Mutex::new(Receiving::over(transport)),
            messages,
            #[cfg(unix)]
            watcher,
            heard: AtomicU64::new(0),
            vigil: Vigil::new(expectations),
            unwritten: Notify::new(),
            silent: Notify::new(),
            silent_at: AtomicU64::new(u64::MAX),
            ended: CancellationToken::new(),
            why: OnceLock::new(),
        });
        #[cfg(unix)]
        reader.read_for(&connection);
        Ok(connection)
    }

    /// The address that it leads to, unless that is a path, or it has ended.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.sending().transport()?.socket().peer()
    }

    /// Ends it, for this reason if for no other before.
    pub(crate) fn end(&self, cause: Cause) {
        if self.why.set(cause.clone()).is_err() {
            return;
        }
        let (transport, awaited) = self.sending().end();
        #[cfg(unix)]
        if let (Some(watcher), Some(transport)) = (&self.watcher, &transport) {
            watcher.unwatch(transport.socket().as_fd());
        }
        for waiting in awaited {
            waiting.fail(&cause);
        }
        // Whoever drives it drops the last piece of the socket.
        self.ended.cancel();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.why.get().is_some()
    }

    /// Waits until it may be dead: an answer is awaited, and nothing at all has been heard.
    pub(crate) async fn silent(&self) {
        loop {
            self.silent.notified().await;
            // It may have been said long ago, while nobody waited.
            if self.is_silent() {
                return;
            }
        }
    }

    /// Whether what was said of silence still holds.
    pub(crate) fn is_silent(&self) -> bool {
        self.heard() == self.silent_at.load(Ordering::Relaxed) && self.awaited() > 0
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Does what the threads that call leave undone, until it has ended. Says why it has. Dropped, it leaves the
    /// connection as it is.
    ///
    /// `patience`: for so long an answer is awaited without anything being heard before that is
    /// [silence](Self::silent).
    pub(crate) async fn drive(&self, patience: Duration) -> Cause {
        let transport = self.sending().transport();
        if let Some(transport) = transport {
            tokio::select! {
                biased;
                () = self.ended.cancelled() => {}
                () = self.read_when_something_comes(&transport) => {}
                () = self.write_what_is_left(&transport) => {}
                () = self.keep_vigil(patience) => {}
            }
        }
        self.receiving().end();
        self.why()
    }

    fn why(&self) -> Cause {
        self.why.get().cloned().unwrap_or_else(closed)
    }

    fn is_watched(&self) -> bool {
        #[cfg(unix)]
        return self.watcher.is_some();
        #[cfg(not(unix))]
        return false;
    }

    /// How many answers are awaited, also of calls that wait no more.
    fn awaited(&self) -> usize {
        self.sending().awaited()
    }

    /// Nothing has come for long after so many values.
    fn on_silence(&self, heard: u64) {
        self.silent_at.store(heard, Ordering::Relaxed);
        self.silent.notify_one();
    }

    /// Something is to be heard soon by whoever is not busy.
    pub(crate) fn wake_vigil(&self) {
        self.vigil.wake();
    }

    fn sending(&self) -> MutexGuard<'_, Sending> {
        lock(&self.sending)
    }

    fn receiving(&self) -> MutexGuard<'_, Receiving> {
        lock(&self.receiving)
    }
}

fn closed() -> Cause {
    Cause::new("ECONNRESET", "the connection was closed")
}

#[cfg(test)]
mod tests;
