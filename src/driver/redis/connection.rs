//! One connection that is always being kept up, and the calls over it.
//!
//! A task of its own, the keeper, connects, waits until the connection is gone, and connects again. Calls wait
//! for the state it publishes. Every command is safe to send twice, so a call goes on, over one connection after
//! the other, until it has an answer or its deadline has passed.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{Cmd, ServerError, Value};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

#[cfg(unix)]
use super::watchdog::{Awaited, Watchdog};
use super::{
    config::{Config, Decision, Reconnect, Trouble},
    connect::{Connected, connect, endpoint_name},
    news::Session,
    outbox::Outbox,
    refusal::{self, ConnectError},
};
use crate::{
    core::{Backoff, Moment},
    driver::{Deadline, Notice},
    error::{Cause, Error, Refusal, RefusalKind, Result, Unreachable, UnreachableReason},
    random,
};

/// Between two tries at a server that is loading or busy.
const BUSY_BACKOFF: Backoff = Backoff { first: Duration::from_millis(20), max: Duration::from_millis(500) };

/// A connection that stays silent for so long, or for half of a call's time where that is less, is given up.
const SILENCE: Duration = Duration::from_millis(500);

/// A connection that has lived for so long was a success: the next tries begin anew.
const SUCCESS: Duration = Duration::from_secs(1);

/// A handle; the keeper runs until [`close`](Self::close).
pub struct Connection {
    endpoint: Arc<str>,
    offline_queue: bool,
    /// See [`SILENCE`].
    silence: Duration,
    state: watch::Receiver<State>,
    /// Whoever waits for another state is woken by this, in order of arrival; `watch` itself keeps to no order.
    changed: Arc<Notify>,
    /// Where another thread reads from the socket.
    #[cfg(unix)]
    watchdog: Option<Arc<Watchdog>>,
    /// Nothing waits for a connection any more.
    closing: CancellationToken,
    /// The keeper shall end.
    closed: CancellationToken,
}

#[derive(Clone)]
enum State {
    /// No connection yet or no longer; why, if a try has failed.
    Connecting(Option<ConnectError>),
    Ready(Arc<Live>),
    /// The keeper has given up for good.
    GaveUp(Cause),
    /// The locker was closed.
    Closed,
}

struct Live {
    number: u32,
    outbox: Outbox,
    /// Cancelled by a caller that found the connection of no use: the keeper replaces it.
    useless: CancellationToken,
}

/// How a script is sent. Any other command has one form only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By its hash.
    Short,
    /// With its source, for a server that does not know it.
    Whole,
}

/// A reply, and what is known of its command.
#[derive(Debug)]
pub struct Reply {
    pub value: Value,
    /// When the command had left that was answered.
    pub sent: Moment,
    /// Whether it was sent more than once, because no answer came. It may have been carried out before.
    pub resent: bool,
}

impl Connection {
    /// Starts to connect. Must be called on the runtime.
    pub fn open(config: Arc<Config>, session: Session) -> Self {
        let (publish, state) = watch::channel(State::Connecting(None));
        let (changed, closed) = (Arc::<Notify>::default(), CancellationToken::new());
        #[cfg(unix)]
        let watchdog = session.watcher.clone().map(|watcher| Watchdog::start(watcher, closed.clone()));
        let connection = Self {
            endpoint: endpoint_name(&config),
            offline_queue: config.offline_queue,
            silence: SILENCE.min(config.command_timeout / 2),
            state,
            changed: changed.clone(),
            #[cfg(unix)]
            watchdog,
            closing: CancellationToken::new(),
            closed: closed.clone(),
        };
        let keeper = Keeper { config, session, publish, changed, times_connected: 0 };
        tokio::spawn(keeper.run(closed));
        connection
    }

    /// Sends a command until it is answered, at the latest at `deadline`. The command must be idempotent. It is made
    /// when there is a connection to send it on.
    pub fn call<'a>(
        &'a self,
        make: &'a (dyn Fn(Form) -> Cmd + Sync),
        deadline: Deadline,
    ) -> impl Future<Output = Result<Reply>> + use<'a> {
        let mut call = Call {
            connection: self,
            make,
            deadline,
            #[cfg(unix)]
            _awaited: self.watchdog.as_ref().map(|watchdog| watchdog.await_answer()),
            form: Form::Short,
            sent: None,
            resent: false,
            trouble: None,
            refused: None,
            busy: 0,
        };
        // Not an async function: that would keep room for its arguments twice.
        async move { call.answer().await }
    }

    /// Reads what another thread should have read.
    pub fn look(&self) {
        #[cfg(unix)]
        if let Some(watchdog) = &self.watchdog {
            watchdog.look();
        }
    }

    /// From now on calls that have no connection are refused instead of waiting for one.
    pub fn begin_close(&self) {
        self.closing.cancel();
    }

    /// Ends the connection.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// The connection, if there is one and there is time to use it, and what time it is.
    fn live(&self, deadline: Deadline) -> Option<(Arc<Live>, Instant)> {
        let now = Instant::now();
        match &*self.state.borrow() {
            State::Ready(live) if now < deadline.at => Some((live.clone(), now)),
            _ => None,
        }
    }
}

/// A command on its way to an answer. What few calls need has a future of its own, as there may be many calls.
struct Call<'a> {
    connection: &'a Connection,
    make: &'a (dyn Fn(Form) -> Cmd + Sync),
    deadline: Deadline,
    #[cfg(unix)]
    _awaited: Option<Awaited<'a>>,
    form: Form,
    /// When it was sent last, if ever.
    sent: Option<Moment>,
    /// Whether it was sent more than once, because no answer came.
    resent: bool,
    /// What was wrong with the last connection that it was sent on.
    trouble: Option<Cause>,
    /// What a server that was busy has said.
    refused: Option<Refusal>,
    /// How often.
    busy: u32,
}

impl Call<'_> {
    async fn answer(&mut self) -> Result<Reply> {
        loop {
            let (live, now) = match self.connection.live(self.deadline) {
                Some(found) => found,
                None => Box::pin(self.wait_for_live()).await?,
            };
            let sent = *self.sent.insert(Moment::now());
            // Half of the time that is left, so that a connection that has gone silent is replaced and the
            // command sent again before the deadline. Whoever has little time is no judge of the connection.
            let left = self.deadline.at.saturating_duration_since(now);
            let patience = self.connection.silence.max(left / 2).min(left);
            let answer = live.outbox.send((self.make)(self.form));
            match timeout_at((now + patience).into(), answer).await {
                Ok(Ok(Value::ServerError(error))) => Box::pin(self.refused(&live, error)).await?,
                Ok(Ok(value)) => return Ok(Reply { value, sent, resent: self.resent }),
                Ok(Err(cause)) => Box::pin(self.broken(&live, cause)).await,
                Err(_) => Box::pin(self.silent(&live, patience)).await,
            }
        }
    }

    /// The server has answered with an error.
    async fn refused(&mut self, live: &Live, error: ServerError) -> Result<()> {
        if error.code() == "NOSCRIPT" && self.form == Form::Short {
            self.form = Form::Whole;
            return Ok(());
        }
        let refusal = refusal::of_reply(&error, self.resent);
        if refusal.kind == RefusalKind::ReadOnly {
            // After a failover the name may lead to another server by now.
            live.useless.cancel();
        }
        if !refusal.kind.is_passing() {
            return Err(Error::Refused(refusal));
        }
        self.refused = Some(refusal);
        self.busy += 1;
        let pause = BUSY_BACKOFF.delay(self.busy, random::unit());
        sleep(pause.min(self.deadline.left())).await;
        Ok(())
    }

    /// The connection broke before there was an answer.
    async fn broken(&mut self, live: &Live, cause: Cause) {
        self.trouble = Some(cause);
        self.resent = true;
        self.gone(live).await;
    }

    /// There was no answer for so long.
    async fn silent(&mut self, live: &Live, patience: Duration) {
        let silence = patience.as_millis();
        self.trouble = Some(Cause::new("ETIMEDOUT", format!("no reply within {silence} ms")));
        self.resent = true;
        if patience >= self.connection.silence {
            live.useless.cancel();
            self.gone(live).await;
        }
    }

    /// Waits until the keeper has noticed that this connection is no more.
    async fn gone(&self, live: &Live) {
        let connection = self.connection;
        loop {
            let mut changed = pin!(connection.changed.notified());
            changed.as_mut().enable();
            let replaced =
                !matches!(&*connection.state.borrow(), State::Ready(now) if now.number == live.number);
            // Late, or closed: `wait_for_live` will see it and say so.
            if replaced || timeout_at(self.deadline.at.into(), changed).await.is_err() {
                return;
            }
        }
    }

    /// The live connection, as soon as there is one, and what time it is then.
    async fn wait_for_live(&mut self) -> Result<(Arc<Live>, Instant)> {
        let connection = self.connection;
        loop {
            // From here on no change is missed.
            let mut changed = pin!(connection.changed.notified());
            changed.as_mut().enable();
            let (found, now) = (connection.state.borrow().clone(), Instant::now());
            let last = match found {
                State::Ready(live) if now < self.deadline.at => return Ok((live, now)),
                State::Ready(_) => None,
                State::Closed => return Err(Error::Closed),
                State::GaveUp(cause) => {
                    return Err(self.unreachable(UnreachableReason::GaveUp, Some(cause)));
                }
                State::Connecting(Some(ConnectError::Refused(refusal))) => {
                    return Err(Error::Refused(Refusal { unanswered: self.sent.is_some(), ..refusal }));
                }
                State::Connecting(Some(ConnectError::Tls(cause))) => {
                    return Err(self.unreachable(UnreachableReason::Tls, Some(cause)));
                }
                State::Connecting(last) => {
                    let last = last.map(|error| error.cause().clone());
                    if !connection.offline_queue {
                        return Err(self.unreachable(UnreachableReason::Offline, last));
                    }
                    last
                }
            };
            tokio::select! {
                changed = timeout_at(self.deadline.at.into(), changed) => if changed.is_err() {
                    return Err(self.late(last));
                },
                () = connection.closing.cancelled() => return Err(Error::Closed),
            }
        }
    }

    /// The deadline has passed. `cause`: what the last try to connect failed of.
    fn late(&mut self, cause: Option<Cause>) -> Error {
        if let Some(refusal) = self.refused.take() {
            return Error::Refused(refusal);
        }
        let cause = cause.or(self.trouble.take());
        self.unreachable(UnreachableReason::Deadline(self.deadline.limit), cause)
    }

    fn unreachable(&self, reason: UnreachableReason, cause: Option<Cause>) -> Error {
        let (endpoint, sent) = (self.connection.endpoint.clone(), self.sent.is_some());
        Error::Connection(Unreachable { endpoint, reason, sent, cause })
    }
}

/// The task that keeps the connection up.
struct Keeper {
    config: Arc<Config>,
    session: Session,
    publish: watch::Sender<State>,
    changed: Arc<Notify>,
    times_connected: u32,
}

impl Keeper {
    async fn run(mut self, closed: CancellationToken) {
        tokio::select! {
            () = self.keep() => {}
            () = closed.cancelled() => {}
        }
        // Ends the last connection too: nobody has a handle to it any more.
        self.publish(State::Closed);
    }

    fn publish(&self, state: State) {
        self.publish.send_replace(state);
        self.changed.notify_waiters();
    }

    async fn keep(&mut self) {
        let mut lost = Instant::now();
        let mut attempt = 0;
        loop {
            let error = match connect(&self.config, &self.session).await {
                Ok(connected) => {
                    self.times_connected += 1;
                    let since = Instant::now();
                    let cause = self.serve(connected).await;
                    lost = Instant::now();
                    if since.elapsed() >= SUCCESS {
                        attempt = 0;
                    }
                    ConnectError::Passing(cause)
                }
                Err(error) => error,
            };
            attempt += 1;
            let cause = error.cause().clone();
            self.publish(State::Connecting(Some(error)));
            match self.decide(attempt, lost, cause.clone()).await {
                Decision::RetryAfter(pause) => sleep(pause).await,
                Decision::GiveUp(reason) => {
                    self.publish(State::GaveUp(reason.unwrap_or(cause)));
                    // Keeps the state readable until the locker is closed.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Lets calls use the connection until it is gone, and says why it is.
    async fn serve(&self, connected: Connected) -> Cause {
        // Whoever drops this future, as `run` does, ends the connection.
        let Connected { connection, mut ending, hears } = connected;
        let useless = CancellationToken::new();
        let live =
            Live { number: self.times_connected, outbox: Outbox::new(connection), useless: useless.clone() };
        self.publish(State::Ready(Arc::new(live)));
        // Without a receiver the locker is no more.
        let _ = self.session.notices.send(Notice::Connected { hears });
        tokio::select! {
            () = ending.ended() => Cause::new("ECONNRESET", "the connection was closed"),
            () = useless.cancelled() => Cause::new("ETIMEDOUT", "the connection had to be replaced"),
        }
    }

    async fn decide(&self, attempt: u32, lost: Instant, cause: Cause) -> Decision {
        let retrying_for = lost.elapsed();
        match &self.config.reconnect {
            Reconnect::Backoff { backoff, max_attempts, max_time } => {
                if max_attempts.is_some_and(|max| attempt >= max) {
                    return Decision::GiveUp(None);
                }
                let mut pause = backoff.delay(attempt, random::unit());
                if let Some(max_time) = max_time {
                    // The last try comes exactly at the limit.
                    let left = max_time.saturating_sub(retrying_for);
                    if left.is_zero() {
                        return Decision::GiveUp(None);
                    }
                    pause = pause.min(left);
                }
                Decision::RetryAfter(pause)
            }
            Reconnect::Custom(strategy) => {
                let times_connected = self.times_connected;
                strategy.decide(Trouble { attempt, retrying_for, times_connected, cause }).await
            }
        }
    }
}
