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

use super::{Place, Seat, Seats, cluster::ClusterSeats};
use crate::{
    link::{Command, ConnectError, Live, Member, State},
    refusal::{self, Redirection, RefusalKind},
    script::LuaScript,
};

/// Between two tries at a server that refuses for now.
const REFUSED_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(20), max: Duration::from_millis(500) };

/// The same at a node of a cluster: what refuses is about to be replaced.
const CLUSTER_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(20), max: Duration::from_millis(100) };

/// A connection to a replica is given up when it is so old. The server may stay one for ever, while the name or the proxy
/// that has led to it leads to the new primary by now.
const REPLICA_PATIENCE: Duration = Duration::from_secs(1);

/// So often in a row a command is sent on from one node to another at once. Beyond that the nodes do not agree yet.
const REDIRECTIONS: u32 = 4;

/// Of a node of a cluster that takes so long, another one may have taken the place meanwhile.
const DOUBTFUL: Duration = Duration::from_secs(1);

/// A reply, and what is known of its command.
pub(crate) struct Reply {
    pub(crate) value: Value,
    /// When the command had left that was answered.
    pub(crate) sent: Moment,
    /// Whether it was sent more than once, because no answer came. It may have been carried out before.
    pub(crate) resent: bool,
    /// This locker at the server that has answered,
    pub(crate) member: Arc<Member>,
    /// and the number of the connection.
    pub(crate) connection: u32,
}

impl Seats {
    /// Sends a command until it is answered, at the latest at `deadline`. The command must be idempotent. It is made
    /// when there is a connection to send it on.
    pub(crate) fn call<'a>(
        &'a self,
        place: &'a Place,
        command: Command<'a>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Reply>> + use<'a> {
        let mut call = Call {
            seats: self,
            place,
            command,
            deadline,
            asked: None,
            redirections: 0,
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
    seats: &'a Seats,
    place: &'a Place,
    command: Command<'a>,
    deadline: Deadline,
    /// The node that the slot is moving to, where the other one has said that the keys are.
    asked: Option<Arc<Seat>>,
    /// How often it was sent on from one node to another, in a row.
    redirections: u32,
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
            let asked = self.asked.take();
            let known = asked.clone().or_else(|| self.seats.at(self.place));
            let (at, live) = match known.and_then(|seat| self.usable(seat)) {
                Some(found) => found,
                None => Box::pin(self.wait_for_live()).await?,
            };
            // Where there is no connection to that one, the other is asked again.
            let asking = asked.is_some_and(|asked| Arc::ptr_eq(&asked, &at));
            if let Some(script) = self.command.script()
                && !live.allows(script)
            {
                Box::pin(self.find_allowed(&at, &live, script)).await?;
            }
            let sent = *self.sent.insert(self.seats.now());
            let connection = live.number;
            let was_silent = live.commands.is_silent();
            let (forgotten, answer) = live.commands.send(self.command, &at.member, asking);
            drop(live);
            match timeout_at(self.deadline.at, answer).await {
                Ok(Ok(Value::ServerError(error))) => {
                    Box::pin(self.refused(at, connection, forgotten, error)).await?;
                }
                Ok(Ok(value)) => {
                    let is_doubtful = was_silent || sent.until(self.seats.now()) >= DOUBTFUL;
                    if asking || !is_doubtful || Box::pin(self.is_confirmed(&at, connection)).await? {
                        return Ok(self.reply(value, sent, &at, connection));
                    }
                    self.lose_answer();
                    if self.command.is_sent_once() {
                        return Ok(self.reply(Value::Boolean(false), sent, &at, connection));
                    }
                }
                Ok(Err(cause)) => {
                    Box::pin(self.broken(connection, cause)).await;
                    if self.command.is_sent_once() {
                        return Ok(self.reply(Value::Boolean(false), sent, &at, connection));
                    }
                }
                Err(_) => {
                    self.lose_answer();
                    return Err(self.late(Some(&at), None));
                }
            }
        }
    }

    fn reply(&self, value: Value, sent: Moment, at: &Seat, connection: u32) -> Reply {
        Reply { value, sent, resent: self.resent, member: at.member.clone(), connection }
    }

    /// Whether the rest of the cluster still has this node serve the slot, or no other server is the primary by now. One that has
    /// stood still answers what it was asked meanwhile before it learns that it is a replica now; what it has granted then
    /// counts for nobody else.
    async fn is_confirmed(&mut self, at: &Arc<Seat>, connection: u32) -> Result<bool> {
        let confirming = async {
            match (self.place, self.seats.cluster()) {
                (Place::Slot(slot), Some(cluster)) => cluster.confirm(*slot, at).await,
                (Place::At(_), Some(_)) => true,
                (_, None) => at.link.is_confirmed(connection).await,
            }
        };
        if let Ok(is_confirmed) = timeout_at(self.deadline.at, confirming).await {
            return Ok(is_confirmed);
        }
        self.lose_answer();
        Err(self.late(Some(at), None))
    }

    /// Finds out whether a script is forbidden that was when the connection was made, or of which that is not known.
    async fn find_allowed(&self, seat: &Seat, live: &Live, script: &LuaScript) -> Result<()> {
        // Without an answer in time, what was known counts.
        let _ = timeout_at(self.deadline.at, live.look_again(seat.member.prefix())).await;
        match live.refusal(script, self.sent.is_some()) {
            Some(refusal) => Err(Error::Refused(refusal)),
            None => Ok(()),
        }
    }

    /// The server has answered with an error.
    async fn refused(
        &mut self,
        seat: Arc<Seat>,
        connection: u32,
        forgotten: u32,
        error: ServerError,
    ) -> Result<()> {
        let live = seat.link.live().filter(|live| live.number == connection);
        if self.command.script().is_some() && error.code() == "NOSCRIPT" {
            if let Some(live) = live {
                live.commands.forget(forgotten);
            }
            return Ok(());
        }
        if let Some(cluster) = self.seats.cluster()
            && let Some(redirection) = Redirection::parse(&error)
        {
            self.asked = cluster.on_redirection(&redirection, &seat);
            self.redirections += 1;
            if self.redirections > REDIRECTIONS {
                self.pause(self.redirections - REDIRECTIONS).await;
            }
            return Ok(());
        }
        self.redirections = 0;
        let refusal = refusal::of_reply(&error, self.resent);
        if !refusal.is_passing {
            return Err(Error::Refused(refusal));
        }
        if let Some(cluster) = self.seats.cluster() {
            // The slot may be somewhere else, or be about to be.
            cluster.look_again();
        }
        if refusal::kind_of(&error) == RefusalKind::ReadOnly
            && let Some(live) = live
            && live.since.elapsed() >= REPLICA_PATIENCE
        {
            live.end(&refusal.cause);
        }
        self.refused = Some(refusal);
        self.refusals += 1;
        self.pause(self.refusals).await;
        Ok(())
    }

    async fn pause(&self, number: u32) {
        let backoff = if self.seats.cluster().is_some() { CLUSTER_BACKOFF } else { REFUSED_BACKOFF };
        let pause = backoff.delay(number, self.seats.servers.machine.random.unit());
        sleep(pause.min(self.deadline.left())).await;
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
            let mut changed = pin!(self.seats.changed().notified());
            changed.as_mut().enable();
            let live = self.seats.at(self.place).and_then(|seat| seat.link.live());
            let replaced = live.is_none_or(|live| live.number != number);
            // Late, or closed: `wait_for_live` will see it and say so.
            if replaced || timeout_at(self.deadline.at, changed).await.is_err() {
                return;
            }
        }
    }

    /// The connection of a seat, if it is of use: there is time, it serves this locker, and it has not ended, which the keeper
    /// may not have noticed yet.
    fn usable(&self, seat: Arc<Seat>) -> Option<(Arc<Seat>, Arc<Live>)> {
        let live = seat.link.live()?;
        let is_usable =
            seat.member.is_ready() && Instant::now() < self.deadline.at && !live.commands.has_ended();
        is_usable.then_some((seat, live))
    }

    /// The live connection, as soon as there is one.
    async fn wait_for_live(&mut self) -> Result<(Arc<Seat>, Arc<Live>)> {
        let seats = self.seats;
        loop {
            // From here on no change is missed.
            let mut changed = pin!(seats.changed().notified());
            changed.as_mut().enable();
            let seat = seats.at(self.place);
            if let Some(found) = seat.clone().and_then(|seat| self.usable(seat)) {
                return Ok(found);
            }
            let last = match (&seat, seats.cluster()) {
                (_, Some(cluster)) if cluster.is_closed() => return Err(Error::Closed),
                (Some(seat), cluster) => self.why_not(seat, cluster.is_some())?,
                (None, Some(cluster)) => self.why_none(cluster)?,
                (None, None) => None,
            };
            tokio::select! {
                changed = timeout_at(self.deadline.at, changed) => if changed.is_err() {
                    return Err(self.late(seat.as_deref(), last));
                },
                () = seats.closing.cancelled() => return Err(Error::Closed),
            }
        }
    }

    /// Why it is not known which node of a cluster is to be asked. An error where waiting is of no use.
    fn why_none(&mut self, cluster: &ClusterSeats) -> Result<Option<Cause>> {
        if let Some(seat) = cluster.at_failing() {
            return self.why_not(&seat, true);
        }
        if let Some(refusal) = cluster.final_refusal() {
            return Err(Error::Refused(Refusal { unanswered: self.sent.is_some(), ..refusal }));
        }
        if cluster.has_offline_queue() {
            return Ok(None);
        }
        if let Some(refusal) = self.refused.take() {
            return Err(Error::Refused(refusal));
        }
        let what = "No connection yet to the node of Redis Cluster that has the lock, and \
                    config.enable_offline_queue is off";
        Err(self.unavailable(what, false, None, ""))
    }

    /// Why there is no connection, if a try has failed. An error where waiting is of no use.
    fn why_not(&mut self, seat: &Seat, in_cluster: bool) -> Result<Option<Cause>> {
        let (state, server) = (seat.link.state().clone(), &seat.link.server);
        match state {
            State::Ready(_) => Ok(None),
            // The node has left the cluster. Another one has its slots.
            State::Closed if in_cluster => match self.place {
                Place::Slot(_) => Ok(None),
                Place::At(_) => {
                    Err(self.unavailable(&format!("{server} has left the cluster"), false, None, ""))
                }
            },
            State::Closed => Err(Error::Closed),
            State::GaveUp(cause) => {
                let what = format!("Reconnecting to {server} was given up, as config asks for");
                Err(self.unavailable(&what, true, Some(cause), ""))
            }
            State::Connecting(Some(ConnectError::Refused(refusal))) => {
                Err(Error::Refused(Refusal { unanswered: self.sent.is_some(), ..refusal }))
            }
            State::Connecting(Some(ConnectError::Tls(cause))) => {
                let what = format!("TLS with {server} failed; check config.tls");
                Err(self.unavailable(&what, true, Some(cause), ""))
            }
            State::Connecting(last) => {
                let last = last.map(|error| error.cause().clone());
                if seat.link.config.offline_queue {
                    return Ok(last);
                }
                if let Some(refusal) = self.refused.take() {
                    return Err(Error::Refused(refusal));
                }
                let what = format!("No connection to {server}, and config.enable_offline_queue is off");
                Err(self.unavailable(&what, false, last, ""))
            }
        }
    }

    /// The deadline has passed. `cause`: what the last try to connect failed of.
    fn late(&mut self, seat: Option<&Seat>, cause: Option<Cause>) -> Error {
        if let Some(refusal) = self.refused.take() {
            return Error::Refused(refusal);
        }
        if seat.is_none()
            && let Some(refusal) = self.seats.cluster().and_then(ClusterSeats::why_unserved)
        {
            return Error::Refused(Refusal { unanswered: self.sent.is_some(), ..refusal });
        }
        let cause = cause.or(self.trouble.take());
        let server = seat.map_or_else(|| "Redis Cluster".to_owned(), |seat| seat.link.server.to_string());
        let limit = self.deadline.limit;
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
