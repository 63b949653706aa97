//! What leaves: commands, in the order in which they are sent, and who awaits the reply to each.

use std::{
    collections::VecDeque,
    mem::take,
    sync::{Arc, MutexGuard},
};

use futures_util::FutureExt;
use lock_inc_core::error::Cause;
use lock_inc_exec::turn::{self, Flush};
use redis::{Cmd, Value, cmd};
use tokio::sync::oneshot;

use super::{
    Answer, Connection,
    batch::{Batches, Part, Together},
    closed,
    shards::Shards,
};
use crate::{
    link::{
        Member, failure,
        transport::{Outgoing, Transport},
    },
    script::LuaScript,
};

/// What is to be sent. It is written for the locker that calls.
#[derive(Clone, Copy)]
pub(crate) enum Command<'a> {
    /// No script. This writes all of it.
    Plain(Write<'a>),
    /// A script, how many keys it gets, and what adds keys and arguments.
    Script(&'a LuaScript, usize, Write<'a>),
    /// One of several calls, perhaps, that leave together.
    Part(&'a Part<'a>),
}

type Write<'a> = &'a (dyn Fn(&mut Cmd, &Member) + Sync);

impl<'a> Command<'a> {
    /// See [`Calls::is_sent_once`](super::batch::Calls::is_sent_once).
    pub(crate) fn is_sent_once(self) -> bool {
        matches!(self, Self::Part(part) if part.kind.is_sent_once())
    }

    pub(crate) fn script(self) -> Option<&'a LuaScript> {
        match self {
            Self::Plain(_) => None,
            Self::Script(script, ..) => Some(script),
            Self::Part(part) => Some(part.script),
        }
    }
}

pub(super) struct Sending {
    transport: Option<Arc<Transport>>,
    outgoing: Outgoing,
    /// What leaves behind that, and may have more in it by then.
    batches: Batches,
    awaited: VecDeque<Awaited>,
    /// Calls that an answer is awaited for,
    calls: usize,
    /// and those of them that have not left yet.
    unsent: usize,
    /// The command in the making. Kept, as its memory is.
    scratch: Cmd,
    /// Scripts that the server has been sent on this connection, a bit for each.
    known: u32,
    /// How often it was found to have forgotten them.
    forgotten: u32,
    pub(super) shards: Shards,
}

/// What the next reply is for.
pub(super) enum Awaited {
    Reply(oneshot::Sender<Answer>),
    Together(Together),
    /// One of several replies to the same calls, of which the last one says all.
    Nobody,
    /// The confirmation of a subscription or of its end, which comes as a message does; or an error.
    Subscription(oneshot::Sender<Answer>),
    /// The same for this sharded channel. Nobody waits for it.
    Shard(String),
}

impl Awaited {
    /// An error that is no reply to what was asked ends the connection.
    pub(super) fn settle(self, reply: Value) -> Result<(), Cause> {
        match self {
            Self::Together(together) => return together.settle(reply),
            Self::Nobody | Self::Shard(_) => {}
            // Whoever waits no more needs no answer.
            Self::Reply(waiting) | Self::Subscription(waiting) => drop(waiting.send(Ok(reply))),
        }
        Ok(())
    }

    /// There will be no reply.
    pub(super) fn fail(self, cause: &Cause) {
        match self {
            Self::Together(together) => together.fail(cause),
            Self::Nobody | Self::Shard(_) => {}
            Self::Reply(waiting) | Self::Subscription(waiting) => drop(waiting.send(Err(cause.clone()))),
        }
    }
}

/// An answer that will come, or be told not to.
fn answer() -> (oneshot::Sender<Answer>, impl Future<Output = Answer> + use<>) {
    let (settle, settled) = oneshot::channel();
    (settle, settled.map(|answer| answer.unwrap_or_else(|_| Err(closed()))))
}

impl Connection {
    /// Sends a command, in its turn. It is on its way even if nobody waits for the answer. Also says what
    /// [`forget`](Self::forget) is to be told if the server turns out not to know its script. `asking`: this node of a cluster
    /// is to answer though it does not serve the slot yet.
    pub(crate) fn send(
        self: &Arc<Self>,
        command: Command<'_>,
        member: &Arc<Member>,
        asking: bool,
    ) -> (u32, impl Future<Output = Answer> + use<>) {
        let (settle, settled) = answer();
        let mut sending = self.sending();
        let forgotten = sending.forgotten;
        if asking {
            // Nobody needs the answer: the command's own says whether it was of use.
            sending.put(&cmd("ASKING"), Awaited::Nobody);
        }
        match command {
            Command::Part(part) => sending.put_part(part, member, settle),
            Command::Script(script, keys, write) => {
                sending.put_written(Some((script, keys)), write, member, settle);
            }
            Command::Plain(write) => sending.put_written(None, write, member, settle),
        }
        if asking {
            sending.close_batches();
        }
        self.see_off(sending);
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
        sending.put(command, awaited(settle));
        self.see_off(sending);
        settled
    }

    fn enqueue_all(
        self: &Arc<Self>,
        commands: &[Cmd],
        awaited: fn(oneshot::Sender<Answer>) -> Awaited,
    ) -> Vec<impl Future<Output = Answer> + use<>> {
        let mut sending = self.sending();
        let put = |command| {
            let (settle, settled) = answer();
            sending.put(command, awaited(settle));
            settled
        };
        let settled = commands.iter().map(put).collect();
        self.see_off(sending);
        settled
    }

    /// Something is ready to leave.
    pub(super) fn see_off(self: &Arc<Self>, mut sending: MutexGuard<'_, Sending>) {
        if sending.transport.is_none() {
            let (_, awaited) = sending.end();
            drop(sending);
            let why = self.why();
            for waiting in awaited {
                waiting.fail(&why);
            }
            return;
        }
        if !turn::is_open() {
            drop(sending);
            // It comes after all tasks of the runtime that have been woken by now: what they send leaves together, too.
            self.unwritten.notify_one();
        } else if sending.is_enough() {
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
            batches: Batches::default(),
            awaited: VecDeque::new(),
            calls: 0,
            unsent: 0,
            scratch: Cmd::new(),
            known: 0,
            forgotten: 0,
            shards: Shards::default(),
        }
    }

    pub(super) fn transport(&self) -> Option<Arc<Transport>> {
        self.transport.clone()
    }

    /// How many answers are awaited.
    pub(super) fn awaited(&self) -> usize {
        self.calls
    }

    /// Whose answer comes next.
    pub(super) fn next(&mut self) -> Option<Awaited> {
        match self.awaited.front_mut()? {
            Awaited::Together(together) if together.replies > 1 => {
                together.replies -= 1;
                return Some(Awaited::Nobody);
            }
            Awaited::Together(together) => self.calls -= together.waiting.len(),
            _ => self.calls -= 1,
        }
        self.awaited.pop_front()
    }

    /// The same, if it is about a subscription.
    pub(super) fn next_subscription(&mut self) -> Option<Awaited> {
        let is_next = matches!(self.awaited.front(), Some(Awaited::Subscription(_) | Awaited::Shard(_)));
        if is_next { self.next() } else { None }
    }

    /// The same, where a reply has come.
    pub(super) fn next_for(&mut self, reply: &Value) -> Option<Awaited> {
        if let (Some(Awaited::Shard(channel)), Value::ServerError(error)) = (self.awaited.front(), reply)
            && !self.shards.on_refusal(channel, error)
        {
            return Some(Awaited::Nobody);
        }
        self.next()
    }

    /// Nothing is sent any more.
    pub(super) fn end(&mut self) -> (Option<Arc<Transport>>, VecDeque<Awaited>) {
        self.close_batches();
        self.outgoing = Outgoing::default();
        (self.calls, self.unsent) = (0, 0);
        (self.transport.take(), take(&mut self.awaited))
    }

    fn put(&mut self, command: &Cmd, awaited: Awaited) {
        self.put_all(std::slice::from_ref(command), awaited);
    }

    /// Of several commands only the last one is answered.
    pub(super) fn put_all(&mut self, commands: &[Cmd], awaited: Awaited) {
        self.close_batches();
        for command in commands {
            command.write_packed_command(self.outgoing.bytes());
        }
        self.wait(awaited);
    }

    /// `script`: also how many keys it gets; without one `write` writes the whole command.
    fn put_written(
        &mut self,
        script: Option<(&LuaScript, usize)>,
        write: Write<'_>,
        member: &Member,
        settle: oneshot::Sender<Answer>,
    ) {
        self.close_batches();
        self.scratch.clear();
        if let Some((script, keys)) = script {
            // What comes later on this connection finds the script there, as the server keeps to the order.
            script.write(&mut self.scratch, self.known & script.bit() == 0, keys);
            self.known |= script.bit();
        }
        write(&mut self.scratch, member);
        self.scratch.write_packed_command(self.outgoing.bytes());
        self.wait(Awaited::Reply(settle));
    }

    fn put_part(&mut self, part: &Part<'_>, member: &Arc<Member>, settle: oneshot::Sender<Answer>) {
        self.batches.add(part, member, settle);
        self.calls += 1;
        self.unsent += 1;
    }

    fn wait(&mut self, awaited: Awaited) {
        self.awaited.push_back(awaited);
        self.calls += 1;
        self.unsent += 1;
    }

    /// What follows in this turn leaves together; but half as much as is under way is enough, as the server has something to
    /// do then while more is called.
    fn is_enough(&self) -> bool {
        self.unsent * 3 >= self.calls
    }

    /// What is called next does not leave together with what was called before.
    fn close_batches(&mut self) {
        for batch in self.batches.drain() {
            let bit = batch.script().map_or(0, LuaScript::bit);
            let together = batch.write(self.known & bit == 0, self.outgoing.bytes());
            self.known |= bit;
            self.awaited.push_back(Awaited::Together(together));
        }
    }

    /// `true`: all of it has left.
    fn flush(&mut self) -> std::io::Result<bool> {
        self.close_batches();
        self.unsent = 0;
        match &self.transport {
            Some(transport) => transport.write(&mut self.outgoing),
            None => Ok(true),
        }
    }
}
