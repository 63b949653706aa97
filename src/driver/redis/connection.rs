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

use redis::{Cmd, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

#[cfg(unix)]
use super::watchdog::Watchdog;
use super::{
    config::{Config, Decision, Reconnect, Trouble},
    connect::{Connected, connect, endpoint_name},
    news::Session,
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
    connection: MultiplexedConnection,
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
    pub async fn call(&self, make: &(dyn Fn(Form) -> Cmd + Sync), deadline: Deadline) -> Result<Reply> {
        let mut form = Form::Short;
        #[cfg(unix)]
        let _awaited = self.watchdog.as_ref().map(|watchdog| watchdog.await_answer());
        let mut sent = None;
        let mut trouble = None;
        let mut refused: Option<Refusal> = None;
        let mut busy = 0;
        let mut resent = false;
        loop {
            let (live, now) = match self.live(deadline).await {
                Ok(found) => found,
                Err(NotLive::Error(error)) => return Err(after_sending(error, sent.is_some())),
                Err(NotLive::Late(cause)) => {
                    let cause = cause.or(trouble);
                    return Err(refused.map_or_else(
                        || {
                            self.unreachable(
                                UnreachableReason::Deadline(deadline.limit),
                                sent.is_some(),
                                cause,
                            )
                        },
                        Error::Refused,
                    ));
                }
            };
            let sending = *sent.insert(Moment::now());
            // Half of the time that is left, so that a connection that has gone silent is replaced and the
            // command sent again before the deadline. Whoever has little time is no judge of the connection.
            let left = deadline.at.saturating_duration_since(now);
            let patience = self.silence.max(left / 2).min(left);
            let mut connection = live.connection.clone();
            let command = make(form);
            match timeout_at((now + patience).into(), connection.send_packed_command(&command)).await {
                Ok(Ok(Value::ServerError(error))) => {
                    if error.code() == "NOSCRIPT" && form == Form::Short {
                        form = Form::Whole;
                        continue;
                    }
                    let refusal = refusal::of_reply(&error, resent);
                    if refusal.kind == RefusalKind::ReadOnly {
                        // After a failover the name may lead to another server by now.
                        live.useless.cancel();
                    }
                    if !refusal.kind.is_passing() {
                        return Err(Error::Refused(refusal));
                    }
                    refused = Some(refusal);
                    busy += 1;
                    let pause = BUSY_BACKOFF.delay(busy, random::unit());
                    sleep(pause.min(deadline.left())).await;
                }
                Ok(Ok(value)) => return Ok(Reply { value, sent: sending, resent }),
                Ok(Err(error)) => {
                    trouble = Some(refusal::broken(&error));
                    resent = true;
                    self.gone(&live, deadline).await;
                }
                Err(_) => {
                    let silence = patience.as_millis();
                    trouble = Some(Cause::new("ETIMEDOUT", format!("no reply within {silence} ms")));
                    resent = true;
                    if patience >= self.silence {
                        live.useless.cancel();
                        self.gone(&live, deadline).await;
                    }
                }
            }
        }
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

    /// The live connection, as soon as there is one, and what time it is then.
    async fn live(&self, deadline: Deadline) -> Result<(Arc<Live>, Instant), NotLive> {
        let now = Instant::now();
        if let State::Ready(live) = &*self.state.borrow()
            && now < deadline.at
        {
            return Ok((live.clone(), now));
        }
        loop {
            // From here on no change is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let (found, now) = (self.state.borrow().clone(), Instant::now());
            let last = match found {
                State::Ready(live) if now < deadline.at => return Ok((live, now)),
                State::Ready(_) => None,
                State::Closed => return Err(NotLive::Error(Error::Closed)),
                State::GaveUp(cause) => {
                    return Err(NotLive::Error(self.unreachable(
                        UnreachableReason::GaveUp,
                        false,
                        Some(cause),
                    )));
                }
                State::Connecting(Some(ConnectError::Refused(refusal))) => {
                    return Err(NotLive::Error(Error::Refused(refusal)));
                }
                State::Connecting(Some(ConnectError::Tls(cause))) => {
                    return Err(NotLive::Error(self.unreachable(UnreachableReason::Tls, false, Some(cause))));
                }
                State::Connecting(last) => {
                    if !self.offline_queue {
                        let cause = last.map(|error| error.cause().clone());
                        return Err(NotLive::Error(self.unreachable(
                            UnreachableReason::Offline,
                            false,
                            cause,
                        )));
                    }
                    last
                }
            };
            let late = || NotLive::Late(last.as_ref().map(|error| error.cause().clone()));
            tokio::select! {
                changed = timeout_at(deadline.at.into(), changed) => if changed.is_err() {
                    return Err(late());
                },
                () = self.closing.cancelled() => return Err(NotLive::Error(Error::Closed)),
            }
        }
    }

    /// Waits until the keeper has noticed that this connection is no more.
    async fn gone(&self, live: &Live, deadline: Deadline) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let replaced = !matches!(&*self.state.borrow(), State::Ready(now) if now.number == live.number);
            // Late, or closed: `live` will see it and say so.
            if replaced || timeout_at(deadline.at.into(), changed).await.is_err() {
                return;
            }
        }
    }

    fn unreachable(&self, reason: UnreachableReason, sent: bool, cause: Option<Cause>) -> Error {
        Error::Connection(Unreachable { endpoint: self.endpoint.clone(), reason, sent, cause })
    }
}

/// An error that came when the command had already left once.
fn after_sending(error: Error, sent: bool) -> Error {
    match error {
        Error::Connection(unreachable) => Error::Connection(Unreachable { sent, ..unreachable }),
        Error::Refused(refusal) => Error::Refused(Refusal { unanswered: sent, ..refusal }),
        error => error,
    }
}

enum NotLive {
    /// The deadline passed; what the last try to connect failed of.
    Late(Option<Cause>),
    Error(Error),
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
        let live = Live { number: self.times_connected, connection, useless: useless.clone() };
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
