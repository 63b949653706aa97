//! One connection: commands leave in the order in which they are sent, and each reply settles its command when it comes.
//!
//! Any thread may send and read. Nothing here is a task that has to be woken first: who sends writes to the socket, and
//! who finds that something has come reads it and settles what was waited for. What remains, and what a thread that is
//! busy leaves undone, is done by [`drive`](Connection::drive).

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
#[cfg(unix)]
use std::{os::fd::AsFd, sync::Weak};

use futures_util::FutureExt;
use lock_inc_core::error::Cause;
use lock_inc_exec::turn::{self, Flush};
use redis::{Cmd, PushKind, Value};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

#[cfg(unix)]
use super::socket::{Readable, Watcher};
use super::{
    Expectations,
    replies::{Next, Replies},
    transport::{Outgoing, Transport},
    vigil::Vigil,
};
use crate::{refusal, script::LuaScript};

/// What becomes of a command: the server's reply, which may be an error of its own, or why there is none.
pub(crate) type Answer = Result<Value, Cause>;

/// Who hears what the server says by itself.
pub(crate) trait Messages: Send + Sync {
    fn on_message(&self, channel: &[u8], message: &[u8]);
}

/// What is to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Command<'a> {
    /// A script and how many keys it gets; without one `fill` writes the whole command.
    pub(crate) script: Option<(&'a LuaScript, usize)>,
    /// Adds keys and arguments.
    pub(crate) fill: &'a (dyn Fn(&mut Cmd) + Sync),
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

struct Sending {
    transport: Option<Arc<Transport>>,
    outgoing: Outgoing,
    /// Commands that have not left yet.
    unsent: usize,
    awaited: VecDeque<Awaited>,
    /// The command in the making. Kept, as its memory is.
    scratch: Cmd,
    /// Scripts that the server has been sent on this connection, a bit for each.
    known: u32,
    /// How often it was found to have forgotten them.
    forgotten: u32,
}

struct Receiving {
    transport: Option<Arc<Transport>>,
    replies: Replies,
}

/// What the next reply is for.
enum Awaited {
    Reply(oneshot::Sender<Answer>),
    /// The confirmation of a subscription or of its end, which comes as a message does; or an error.
    Subscription(oneshot::Sender<Answer>),
}

impl Awaited {
    fn settle(self, answer: Answer) {
        let (Self::Reply(waiting) | Self::Subscription(waiting)) = self;
        // Whoever waits no more needs no answer.
        let _ = waiting.send(answer);
    }
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
            sending: Mutex::new(Sending {
                transport: Some(transport.clone()),
                outgoing: Outgoing::default(),
                unsent: 0,
                awaited: VecDeque::new(),
                scratch: Cmd::new(),
                known: 0,
                forgotten: 0,
            }),
            receiving: Mutex::new(Receiving {
                transport: Some(transport.clone()),
                replies: Replies::default(),
            }),
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
        let _ = reader.0.set(Arc::downgrade(&connection));
        Ok(connection)
    }

    /// Sends a command, in its turn. It is on its way even if nobody waits for the answer. Also says what
    /// [`forget`](Self::forget) is to be told if the server turns out not to know its script.
    pub(crate) fn send(
        self: &Arc<Self>,
        command: Command<'_>,
    ) -> (u32, impl Future<Output = Answer> + use<>) {
        let (settle, settled) = oneshot::channel();
        let mut sending = self.sending();
        sending.put(command);
        let forgotten = sending.forgotten;
        self.await_reply(sending, [Awaited::Reply(settle)]);
        (forgotten, settled.map(|answer| answer.unwrap_or_else(|_| Err(closed()))))
    }

    /// Sends a command that is no script.
    pub(crate) fn send_one(self: &Arc<Self>, command: Cmd) -> impl Future<Output = Answer> + use<> {
        let (settle, settled) = oneshot::channel();
        let mut sending = self.sending();
        command.write_packed_command(sending.outgoing.bytes());
        self.await_reply(sending, [Awaited::Reply(settle)]);
        settled.map(|answer| answer.unwrap_or_else(|_| Err(closed())))
    }

    /// Sends commands with nothing between them.
    pub(crate) fn send_together(
        self: &Arc<Self>,
        commands: &[Cmd],
    ) -> Vec<impl Future<Output = Answer> + use<>> {
        let (settle, settled): (Vec<_>, Vec<_>) = commands
            .iter()
            .map(|_| oneshot::channel())
            .map(|(settle, settled)| {
                let settled = settled.map(|answer| answer.unwrap_or_else(|_| Err(closed())));
                (Awaited::Reply(settle), settled)
            })
            .unzip();
        let mut sending = self.sending();
        for command in commands {
            command.write_packed_command(sending.outgoing.bytes());
        }
        self.await_reply(sending, settle);
        settled
    }

    /// Subscribes to a channel, or ends that.
    pub(crate) fn subscription(
        self: &Arc<Self>,
        verb: &str,
        channel: &str,
    ) -> impl Future<Output = Answer> + use<> {
        let (settle, settled) = oneshot::channel();
        let mut sending = self.sending();
        redis::cmd(verb).arg(channel).write_packed_command(sending.outgoing.bytes());
        self.await_reply(sending, [Awaited::Subscription(settle)]);
        settled.map(|answer| answer.unwrap_or_else(|_| Err(closed())))
    }

    /// Subscribes to many channels at once, each by a command of its own: each may be refused.
    pub(crate) fn subscribe_all(
        self: &Arc<Self>,
        channels: &[&str],
    ) -> Vec<impl Future<Output = Answer> + use<>> {
        let mut sending = self.sending();
        let (settle, settled): (Vec<_>, Vec<_>) = channels
            .iter()
            .map(|channel| {
                redis::cmd("SUBSCRIBE").arg(channel).write_packed_command(sending.outgoing.bytes());
                let (settle, settled) = oneshot::channel();
                let settled = settled.map(|answer| answer.unwrap_or_else(|_| Err(closed())));
                (Awaited::Subscription(settle), settled)
            })
            .unzip();
        self.await_reply(sending, settle);
        settled
    }

    /// The commands are ready to leave; these are to be told what becomes of them.
    fn await_reply(
        self: &Arc<Self>,
        mut sending: MutexGuard<'_, Sending>,
        awaited: impl IntoIterator<Item = Awaited>,
    ) {
        if sending.transport.is_none() {
            // Dropped, and told by that.
            sending.outgoing = Outgoing::default();
            return;
        }
        let before = sending.awaited.len();
        sending.awaited.extend(awaited);
        sending.unsent += sending.awaited.len() - before;
        // What follows in this turn leaves together; but half as much as is under way is enough, as the server has
        // something to do then while more is called.
        let enough = sending.unsent * 3 >= sending.awaited.len();
        if !turn::is_open() {
            drop(sending);
            // It comes after all tasks of the runtime that have been woken by now: what they send leaves together, too.
            self.unwritten.notify_one();
        } else if enough {
            self.flush_now(sending);
        } else {
            drop(sending);
            let flush: Arc<dyn Flush> = self.clone();
            if !turn::defer(&flush) {
                self.flush();
            }
        }
        self.vigil.wake();
    }

    fn flush_now(&self, mut sending: MutexGuard<'_, Sending>) {
        let left = sending.flush();
        drop(sending);
        match left {
            Ok(true) => {}
            Ok(false) => self.unwritten.notify_one(),
            Err(error) => self.end(refusal::of_io(&error)),
        }
    }

    /// The next sending of each script is to bring its source along: the server has lost them, and all at once. `since`:
    /// what was said of them when the command was sent that shows it. Of many such commands, the first one tells.
    pub(crate) fn forget(&self, since: u32) {
        let mut sending = self.sending();
        if sending.forgotten == since {
            sending.forgotten = since.wrapping_add(1);
            sending.known = 0;
        }
    }

    /// Ends it, for this reason if for no other before.
    pub(crate) fn end(&self, cause: Cause) {
        if self.why.set(cause.clone()).is_err() {
            return;
        }
        let (transport, awaited) = {
            let mut sending = self.sending();
            (sending.transport.take(), std::mem::take(&mut sending.awaited))
        };
        #[cfg(unix)]
        if let (Some(watcher), Some(transport)) = (&self.watcher, &transport) {
            watcher.unwatch(transport.socket().as_fd());
        }
        for waiting in awaited {
            waiting.settle(Err(cause.clone()));
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
        self.awaited() > 0 && self.heard() == self.silent_at.load(Ordering::Relaxed)
    }

    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Does what the threads that call leave undone, until it has ended. Says why it has. Dropped, it leaves the
    /// connection as it is.
    ///
    /// `patience`: for so long an answer is awaited without anything being heard before that is
    /// [silence](Self::silent).
    pub(crate) async fn drive(&self, patience: Duration) -> Cause {
        let transport = self.sending().transport.clone();
        if let Some(transport) = transport {
            tokio::select! {
                biased;
                () = self.ended.cancelled() => {}
                () = self.read_when_something_comes(&transport) => {}
                () = self.write_what_is_left(&transport) => {}
                () = self.vigil.keep(self, patience) => {}
            }
        }
        self.lock_receiving().transport = None;
        self.why.get().cloned().unwrap_or_else(closed)
    }

    async fn read_when_something_comes(&self, transport: &Transport) {
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
                return self.end(refusal::of_io(&error));
            }
        }
    }

    async fn write_what_is_left(&self, transport: &Transport) {
        loop {
            self.unwritten.notified().await;
            loop {
                let left = self.sending().flush();
                let written = match left {
                    Ok(true) => break,
                    Ok(false) => transport.socket().writable().await,
                    Err(error) => Err(error),
                };
                if let Err(error) = written {
                    return self.end(refusal::of_io(&error));
                }
            }
        }
    }

    pub(crate) fn is_watched(&self) -> bool {
        #[cfg(unix)]
        return self.watcher.is_some();
        #[cfg(not(unix))]
        return false;
    }

    fn read(&self) {
        self.read_all(self.lock_receiving());
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
                    // The answer to a PING, for one.
                    _ => return self.settle(Value::Array(data)),
                };
                self.take_push(&kind, &data);
            }
            Value::Attribute { data, .. } => return self.take(*data),
            reply => return self.settle(reply),
        }
        Ok(())
    }

    fn take_push(&self, kind: &PushKind, data: &[Value]) {
        match (kind, data) {
            (PushKind::Message, [Value::BulkString(channel), Value::BulkString(message)]) => {
                self.messages.on_message(channel, message);
            }
            (PushKind::Subscribe | PushKind::Unsubscribe, _) => {
                let mut sending = self.sending();
                // The server may also end a subscription by itself: that is no answer to anything.
                let asked = matches!(sending.awaited.front(), Some(Awaited::Subscription(_)));
                let waiting = if asked { sending.awaited.pop_front() } else { None };
                drop(sending);
                if let Some(waiting) = waiting {
                    waiting.settle(Ok(Value::Okay));
                }
            }
            // Of a kind that was not asked for.
            _ => {}
        }
    }

    fn settle(&self, reply: Value) -> Result<(), Cause> {
        let waiting = self.sending().awaited.pop_front();
        match waiting {
            Some(waiting) => {
                waiting.settle(Ok(reply));
                Ok(())
            }
            None => Err(unasked(&reply)),
        }
    }

    /// How many answers are awaited, also of calls that wait no more.
    pub(crate) fn awaited(&self) -> usize {
        self.sending().awaited.len()
    }

    /// Nothing has come for long after so many values.
    pub(crate) fn on_silence(&self, heard: u64) {
        self.silent_at.store(heard, Ordering::Relaxed);
        self.silent.notify_one();
    }

    /// Something is to be heard soon by whoever is not busy.
    pub(crate) fn wake_vigil(&self) {
        self.vigil.wake();
    }

    fn sending(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_receiving(&self) -> MutexGuard<'_, Receiving> {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads for a watcher, which does not keep the connection alive. What comes before there is one is told again.
#[cfg(unix)]
#[derive(Default)]
struct Reader(OnceLock<Weak<Connection>>);

#[cfg(unix)]
impl Readable for Reader {
    fn read(&self) {
        if let Some(connection) = self.0.get().and_then(Weak::upgrade) {
            connection.read();
        }
    }
}

impl Flush for Connection {
    fn flush(&self) {
        self.flush_now(self.sending());
    }
}

impl Sending {
    fn put(&mut self, Command { script, fill }: Command<'_>) {
        let command = &mut self.scratch;
        command.clear();
        if let Some((script, keys)) = script {
            // What comes later on this connection finds the script there, as the server keeps to the order.
            script.write(command, self.known & script.bit() == 0, keys);
            self.known |= script.bit();
        }
        fill(command);
        command.write_packed_command(self.outgoing.bytes());
    }

    /// `true`: all of it has left.
    fn flush(&mut self) -> std::io::Result<bool> {
        self.unsent = 0;
        match &self.transport {
            Some(transport) => transport.write(&mut self.outgoing),
            None => Ok(true),
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

fn closed() -> Cause {
    Cause::new("ECONNRESET", "the connection was closed")
}

#[cfg(test)]
mod tests;
