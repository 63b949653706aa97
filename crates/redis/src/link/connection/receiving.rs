//! What comes: replies, each for the command that is next, and messages.

use std::sync::{Arc, MutexGuard, atomic::Ordering};
#[cfg(unix)]
use std::sync::{OnceLock, Weak};

use lock_inc_core::error::Cause;
use redis::{PushKind, Value};

use super::{Connection, Speech};
#[cfg(unix)]
use crate::link::socket::Readable;
use crate::{
    link::{
        failure,
        replies::{Next, Replies},
        transport::Transport,
    },
    refusal,
};

pub(super) struct Receiving {
    transport: Option<Arc<Transport>>,
    replies: Replies,
}

impl Receiving {
    pub(super) fn over(transport: Arc<Transport>) -> Self {
        Self { transport: Some(transport), replies: Replies::default() }
    }

    /// Nothing is read any more.
    pub(super) fn end(&mut self) {
        self.transport = None;
    }
}

impl Connection {
    pub(super) async fn read_when_something_comes(&self, transport: &Transport) {
        if self.is_watched() {
            return std::future::pending().await;
        }
        loop {
            // Read first: something may have come before.
            self.read();
            if self.has_ended() {
                return;
            }
            if let Err(error) = transport.socket().readable().await {
                return self.end(failure::of_io(&error));
            }
        }
    }

    pub(crate) fn read(&self) {
        self.read_all(self.receiving());
    }

    /// Reads, unless another thread does that at the moment.
    pub(crate) fn try_read(&self) {
        if let Ok(receiving) = self.receiving.try_lock() {
            self.read_all(receiving);
        }
    }

    fn read_all(&self, mut receiving: MutexGuard<'_, Receiving>) {
        let Receiving { transport: Some(transport), replies } = &mut *receiving else { return };
        let mut drained = false;
        let cause = loop {
            match replies.next(transport, &mut drained) {
                Next::Value(value) => {
                    self.heard.fetch_add(1, Ordering::Relaxed);
                    if let Err(cause) = self.take(value) {
                        break cause;
                    }
                }
                Next::Nothing => return,
                Next::End(cause) => break cause,
            }
        };
        receiving.transport = None;
        drop(receiving);
        self.end(cause);
    }

    /// Brings a value to whom it is for.
    fn take(&self, value: Value) -> Result<(), Cause> {
        match value {
            Value::Push { kind, data } => self.take_push(&kind, &data),
            Value::Array(mut data) if self.speech == Speech::Messages => {
                let kind = if data.is_empty() { Value::Nil } else { data.remove(0) };
                let kind = match kind {
                    Value::BulkString(kind) if kind == b"message" => PushKind::Message,
                    Value::BulkString(kind) if kind == b"subscribe" => PushKind::Subscribe,
                    Value::BulkString(kind) if kind == b"unsubscribe" => PushKind::Unsubscribe,
                    Value::BulkString(kind) if kind == b"smessage" => PushKind::SMessage,
                    Value::BulkString(kind) if kind == b"ssubscribe" => PushKind::SSubscribe,
                    Value::BulkString(kind) if kind == b"sunsubscribe" => PushKind::SUnsubscribe,
                    // The answer to a PING, for one.
                    _ => return self.settle(Value::Array(data)),
                };
                self.take_push(&kind, &data)
            }
            Value::Attribute { data, .. } => self.take(*data),
            reply => self.settle(reply),
        }
    }

    fn take_push(&self, kind: &PushKind, data: &[Value]) -> Result<(), Cause> {
        match (kind, data) {
            (
                PushKind::Message | PushKind::SMessage,
                [Value::BulkString(channel), Value::BulkString(message)],
            ) => {
                self.messages.on_message(channel, message);
            }
            (PushKind::SUnsubscribe, [Value::BulkString(channel), ..]) => {
                if let Ok(channel) = str::from_utf8(channel) {
                    self.sending().shards.on_end(channel);
                }
            }
            (PushKind::Subscribe | PushKind::SSubscribe | PushKind::Unsubscribe, _) => {
                // The server may also end a subscription by itself: that is no answer to anything.
                let waiting = self.sending().next_subscription();
                if let Some(waiting) = waiting {
                    return waiting.settle(Value::Okay);
                }
            }
            // Of a kind that was not asked for.
            _ => {}
        }
        Ok(())
    }

    fn settle(&self, reply: Value) -> Result<(), Cause> {
        let waiting = self.sending().next_for(&reply);
        match waiting {
            Some(waiting) => waiting.settle(reply),
            None => Err(unasked(&reply)),
        }
    }
}

/// Reads for a watcher, which does not keep the connection alive. What comes before there is one is told again.
#[cfg(unix)]
#[derive(Default)]
pub(super) struct Reader(OnceLock<Weak<Connection>>);

#[cfg(unix)]
impl Reader {
    pub(super) fn read_for(&self, connection: &Arc<Connection>) {
        // It is for one connection.
        let _ = self.0.set(Arc::downgrade(connection));
    }
}

#[cfg(unix)]
impl Readable for Reader {
    fn read(&self) {
        if let Some(connection) = self.0.get().and_then(Weak::upgrade) {
            connection.read();
        }
    }
}

/// A reply to nothing. An error may come so before the server closes the connection: it has too many, for one.
fn unasked(reply: &Value) -> Cause {
    match reply {
        Value::ServerError(error) => refusal::of_reply(error, false).cause,
        _ => Cause::new("EPROTO", "the server has answered what was not asked"),
    }
}
