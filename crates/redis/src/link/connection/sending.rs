//! What leaves: commands, in the order in which they are sent, and who awaits the reply to each.

use std::{
    collections::VecDeque,
    mem::take,
    sync::{Arc, MutexGuard},
};

use futures_util::FutureExt;
use lock_inc_exec::turn::{self, Flush};
use redis::{Cmd, cmd};
use tokio::sync::oneshot;

use super::{Answer, Connection, closed};
use crate::{
    link::{
        failure,
        transport::{Outgoing, Transport},
    },
    script::LuaScript,
};

/// What is to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Command<'a> {
    /// A script and how many keys it gets; without one `fill` writes the whole command.
    pub(crate) script: Option<(&'a LuaScript, usize)>,
    /// Adds keys and arguments.
    pub(crate) fill: &'a (dyn Fn(&mut Cmd) + Sync),
}

pub(super) struct Sending {
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

/// What the next reply is for.
pub(super) enum Awaited {
    Reply(oneshot::Sender<Answer>),
    /// The confirmation of a subscription or of its end, which comes as a message does; or an error.
    Subscription(oneshot::Sender<Answer>),
}

impl Awaited {
    pub(super) fn settle(self, answer: Answer) {
        let (Self::Reply(waiting) | Self::Subscription(waiting)) = self;
        // Whoever waits no more needs no answer.
        let _ = waiting.send(answer);
    }
}

/// An answer that will come, or be told not to.
fn answer() -> (oneshot::Sender<Answer>, impl Future<Output = Answer> + use<>) {
    let (settle, settled) = oneshot::channel();
    (settle, settled.map(|answer| answer.unwrap_or_else(|_| Err(closed()))))
}

impl Connection {
    /// Sends a command, in its turn. It is on its way even if nobody waits for the answer. Also says what
    /// [`forget`](Self::forget) is to be told if the server turns out not to know its script.
    pub(crate) fn send(
        self: &Arc<Self>,
        command: Command<'_>,
    ) -> (u32, impl Future<Output = Answer> + use<>) {
        let (settle, settled) = answer();
        let mut sending = self.sending();
        sending.put(command);
        let forgotten = sending.forgotten;
        self.await_reply(sending, [Awaited::Reply(settle)]);
        (forgotten, settled)
    }

    /// Sends a command that is no script.
    pub(crate) fn send_one(self: &Arc<Self>, command: &Cmd) -> impl Future<Output = Answer> + use<> {
        self.enqueue(command, Awaited::Reply)
    }

    /// Sends commands with nothing between them.
    pub(crate) fn send_together(
        self: &Arc<Self>,
        commands: &[Cmd],
    ) -> Vec<impl Future<Output = Answer> + use<>> {
        self.enqueue_all(commands, Awaited::Reply)
    }

    /// Subscribes to a channel.
    pub(crate) fn subscribe(self: &Arc<Self>, channel: &str) -> impl Future<Output = Answer> + use<> {
        self.enqueue(cmd("SUBSCRIBE").arg(channel), Awaited::Subscription)
    }

    /// Subscribes to many channels at once, each by a command of its own: each may be refused.
    pub(crate) fn subscribe_all(
        self: &Arc<Self>,
        channels: &[&str],
    ) -> Vec<impl Future<Output = Answer> + use<>> {
        let subscribe = |channel: &&str| cmd("SUBSCRIBE").arg(*channel).take();
        let commands: Vec<_> = channels.iter().map(subscribe).collect();
        self.enqueue_all(&commands, Awaited::Subscription)
    }

    /// Ends a subscription. Nobody waits for that.
    pub(crate) fn unsubscribe(self: &Arc<Self>, channel: &str) {
        drop(self.enqueue(cmd("UNSUBSCRIBE").arg(channel), Awaited::Subscription));
    }

    fn enqueue(
        self: &Arc<Self>,
        command: &Cmd,
        awaited: fn(oneshot::Sender<Answer>) -> Awaited,
    ) -> impl Future<Output = Answer> + use<> {
        let (settle, settled) = answer();
        let mut sending = self.sending();
        command.write_packed_command(sending.outgoing.bytes());
        self.await_reply(sending, [awaited(settle)]);
        settled
    }

    fn enqueue_all(
        self: &Arc<Self>,
        commands: &[Cmd],
        awaited: fn(oneshot::Sender<Answer>) -> Awaited,
    ) -> Vec<impl Future<Output = Answer> + use<>> {
        let mut sending = self.sending();
        let (settle, settled): (Vec<_>, Vec<_>) = commands
            .iter()
            .map(|command| {
                command.write_packed_command(sending.outgoing.bytes());
                let (settle, settled) = answer();
                (awaited(settle), settled)
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
            sending.outgoing = Outgoing::default();
            drop(sending);
            for waiting in awaited {
                waiting.settle(Err(self.why()));
            }
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
            Err(error) => self.on_write_error(&error),
        }
    }

    /// The server takes nothing more. It may have said why.
    fn on_write_error(&self, error: &std::io::Error) {
        self.try_read();
        self.end(failure::of_io(error));
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

    pub(super) async fn write_what_is_left(&self, transport: &Transport) {
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
                    return self.on_write_error(&error);
                }
            }
        }
    }
}

impl Flush for Connection {
    fn flush(&self) {
        self.flush_now(self.sending());
    }
}

impl Sending {
    pub(super) fn over(transport: Arc<Transport>) -> Self {
        Self {
            transport: Some(transport),
            outgoing: Outgoing::default(),
            unsent: 0,
            awaited: VecDeque::new(),
            scratch: Cmd::new(),
            known: 0,
            forgotten: 0,
        }
    }

    pub(super) fn transport(&self) -> Option<Arc<Transport>> {
        self.transport.clone()
    }

    /// How many answers are awaited.
    pub(super) fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// Whose answer comes next.
    pub(super) fn next(&mut self) -> Option<Awaited> {
        self.awaited.pop_front()
    }

    /// The same, if it is about a subscription.
    pub(super) fn next_subscription(&mut self) -> Option<Awaited> {
        let is_next = matches!(self.awaited.front(), Some(Awaited::Subscription(_)));
        if is_next { self.awaited.pop_front() } else { None }
    }

    /// Nothing is sent any more.
    pub(super) fn end(&mut self) -> (Option<Arc<Transport>>, VecDeque<Awaited>) {
        (self.transport.take(), take(&mut self.awaited))
    }

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
