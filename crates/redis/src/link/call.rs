//! A command on its way to an answer. Every command is safe to send twice, so a call goes on, over one connection after
//! the other, until it has an answer or its deadline has passed. A deadline ends its own call, and nothing else.

use std::{pin::pin, sync::Arc, time::Duration};

use lock_inc_core::{
    Backoff, Moment,
    error::{Cause, Error, Refusal, Result, Unavailable},
    store::Deadline,
};
use redis::{ServerError, Value};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Command, Link, Live, Member, State, failure::ConnectError};
use crate::{
    refusal::{self, RefusalKind},
    script::LuaScript,
};

/// Between two tries at a server that refuses for now.
const REFUSED_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(20), max: Duration::from_millis(500) };

/// A connection to a replica is given up when it is so old. The server may stay one for ever, while the name or the proxy
/// that has led to it leads to the new primary by now.
const REPLICA_PATIENCE: Duration = Duration::from_secs(1);

/// A reply, and what is known of its command.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) value: Value,
    /// When the command had left that was answered.
    pub(crate) sent: Moment,
    /// Whether it was sent more than once, because no answer came. It may have been carried out before.
    pub(crate) resent: bool,
}

impl Link {
    /// Sends a command until it is answered, at the latest at `deadline`. The command must be idempotent. It is made
    /// when there is a connection to send it on.
    pub(crate) fn call<'a>(
        &'a self,
        member: &'a Member,
        command: Command<'a>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Reply>> + use<'a> {
        let mut call = Call {
            link: self,
            command,
            deadline,
            member,
            sent: None,
            resent: false,
            trouble: None,
            refused: None,
            refusals: 0,
        };
        // Not an async function: that would keep room for its arguments twice.
        async move { call.answer().await }
    }
}

/// What few calls need has a future of its own, as there may be many calls.
struct Call<'a> {
    link: &'a Link,
    command: Command<'a>,
    deadline: Deadline,
    member: &'a Member,
    /// When it was sent last, if ever.
    sent: Option<Moment>,
    /// Whether it was sent more than once, because no answer came.
    resent: bool,
    /// What was wrong with the last connection that it was sent on.
    trouble: Option<Cause>,
    /// What a server that refuses for now has said.
    refused: Option<Refusal>,
    /// How often.
    refusals: u32,
}

impl Call<'_> {
    async fn answer(&mut self) -> Result<Reply> {
        loop {
            let live = match self.link.live() {
                Some(live) if self.may_use(&live) => live,
                _ => Box::pin(self.wait_for_live()).await?,
            };
            if let Some(script) = self.command.script()
                && !live.allows(script)
            {
                Box::pin(self.find_allowed(&live, script)).await?;
            }
            let sent = *self.sent.insert(self.link.machine.clock.now());
            let number = live.number;
            let (forgotten, answer) = live.commands.send(self.command);
            drop(live);
            match timeout_at(self.deadline.at, answer).await {
                Ok(Ok(Value::ServerError(error))) => Box::pin(self.refused(number, forgotten, error)).await?,
                Ok(Ok(value)) => return Ok(Reply { value, sent, resent: self.resent }),
                Ok(Err(cause)) => {
                    Box::pin(self.broken(number, cause)).await;
                    if self.command.is_sent_once() {
                        return Ok(Reply { value: Value::Boolean(false), sent, resent: self.resent });
                    }
                }
                Err(_) => {
                    self.lose_answer();
                    return Err(self.late(None));
                }
            }
        }
    }

    /// Finds out whether a script is forbidden that was when the connection was made, or of which that is not known.
    async fn find_allowed(&self, live: &Live, script: &LuaScript) -> Result<()> {
        // Without an answer in time, what was known counts.
        let _ = timeout_at(self.deadline.at, live.look_again(&self.member.prefix)).await;
        match live.refusal(script, self.sent.is_some()) {
            Some(refusal) => Err(Error::Refused(refusal)),
            None => Ok(()),
        }
    }

    /// The server has answered with an error.
    async fn refused(&mut self, number: u32, forgotten: u32, error: ServerError) -> Result<()> {
        if self.command.script().is_some() && error.code() == "NOSCRIPT" {
            if let Some(live) = self.link.live().filter(|live| live.number == number) {
                live.commands.forget(forgotten);
            }
            return Ok(());
        }
        let refusal = refusal::of_reply(&error, self.resent);
        if !refusal.is_passing {
            return Err(Error::Refused(refusal));
        }
        if refusal::kind_of(&error) == RefusalKind::ReadOnly
            && let Some(live) = self.link.live().filter(|live| live.number == number)
            && live.since.elapsed() >= REPLICA_PATIENCE
        {
            live.end(&refusal.cause);
        }
        self.refused = Some(refusal);
        self.refusals += 1;
        let pause = REFUSED_BACKOFF.delay(self.refusals, self.link.machine.random.unit());
        sleep(pause.min(self.deadline.left())).await;
        Ok(())
    }

    /// It may have been carried out, whatever was said before.
    fn lose_answer(&mut self) {
        self.resent = true;
        if let Some(refusal) = &mut self.refused {
            refusal.unanswered = true;
        }
    }

    /// The connection broke before there was an answer: waits until the keeper has noticed.
    async fn broken(&mut self, number: u32, cause: Cause) {
        self.trouble = Some(cause);
        self.lose_answer();
        loop {
            let mut changed = pin!(self.link.changed.notified());
            changed.as_mut().enable();
            let replaced = self.link.live().is_none_or(|live| live.number != number);
            // Late, or closed: `wait_for_live` will see it and say so.
            if replaced || timeout_at(self.deadline.at, changed).await.is_err() {
                return;
            }
        }
    }

    /// Whether a connection is of use: there is time, it serves this locker, and it has not ended, which the keeper may not
    /// have noticed yet.
    fn may_use(&self, live: &Live) -> bool {
        self.member.is_ready() && Instant::now() < self.deadline.at && !live.commands.has_ended()
    }

    /// The live connection, as soon as there is one.
    async fn wait_for_live(&mut self) -> Result<Arc<Live>> {
        let link = self.link;
        loop {
            // From here on no change is missed.
            let mut changed = pin!(link.changed.notified());
            changed.as_mut().enable();
            let state = link.state().clone();
            let server = &link.server;
            let last = match state {
                State::Ready(live) if self.may_use(&live) => return Ok(live),
                State::Ready(_) => None,
                State::Closed => return Err(Error::Closed),
                State::GaveUp(cause) => {
                    let what = format!("Reconnecting to {server} was given up, as config asks for");
                    return Err(self.unavailable(&what, true, Some(cause), ""));
                }
                State::Connecting(Some(ConnectError::Refused(refusal))) => {
                    return Err(Error::Refused(Refusal { unanswered: self.sent.is_some(), ..refusal }));
                }
                State::Connecting(Some(ConnectError::Tls(cause))) => {
                    let what = format!("TLS with {server} failed; check config.tls");
                    return Err(self.unavailable(&what, true, Some(cause), ""));
                }
                State::Connecting(last) => {
                    let last = last.map(|error| error.cause().clone());
                    if !link.config.offline_queue {
                        if let Some(refusal) = self.refused.take() {
                            return Err(Error::Refused(refusal));
                        }
                        let what =
                            format!("No connection to {server}, and config.enable_offline_queue is off");
                        return Err(self.unavailable(&what, false, last, ""));
                    }
                    last
                }
            };
            tokio::select! {
                changed = timeout_at(self.deadline.at, changed) => if changed.is_err() {
                    return Err(self.late(last));
                },
                () = self.member.closing.cancelled() => return Err(Error::Closed),
            }
        }
    }

    /// The deadline has passed. `cause`: what the last try to connect failed of.
    fn late(&mut self, cause: Option<Cause>) -> Error {
        if let Some(refusal) = self.refused.take() {
            return Error::Refused(refusal);
        }
        let cause = cause.or(self.trouble.take());
        let (server, limit) = (&self.link.server, self.deadline.limit);
        let did_not = if self.sent.is_some() { "did not answer" } else { "could not be reached" };
        let what = format!("{server} {did_not} within {} ms", limit.time.as_millis());
        self.unavailable(&what, false, cause, &format!("; {} is the limit", limit.option))
    }

    fn unavailable(&self, what: &str, is_final: bool, cause: Option<Cause>, limit: &str) -> Error {
        let why = cause.as_ref().map(|cause| format!(" ({})", cause.message)).unwrap_or_default();
        let message = [what, &why, limit].concat().into();
        Error::Unavailable(Unavailable { message, is_final, sent: self.sent.is_some(), cause })
    }
}
