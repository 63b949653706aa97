//! The task that keeps the connection up: it connects, waits until the connection is gone, and connects again.

use std::{future::pending, sync::Arc, time::Duration};

use lock_inc_core::error::{Cause, Unavailable};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Link, Live, State,
    connect::{Connected, connect},
    failure::ConnectError,
};
use crate::{
    config::{Address, Decision, Reconnect, Trouble},
    topology::sentinel::Sentinels,
};

/// A connection that has lived for so long was a success: the next tries begin anew.
const SUCCESS: Duration = Duration::from_secs(1);

/// A connection on which an answer is awaited may be silent for so long, or for some times of what it has taken so far,
/// before another one is tried beside it.
const SILENCE: Duration = Duration::from_millis(500);
const ROUND_TRIPS: u32 = 4;

pub(crate) struct Keeper {
    link: Arc<Link>,
    name: String,
    times_connected: u32,
    /// Who looks after the sentinels.
    observers: Option<AbortOnDropHandle<()>>,
}

impl Keeper {
    pub(crate) fn new(link: Arc<Link>, name: String) -> Self {
        let observers = link.sentinels.as_ref().map(Sentinels::observe);
        Self { link, name, times_connected: 0, observers }
    }

    pub(crate) async fn run(mut self) {
        let closed = self.link.closed.clone();
        tokio::select! {
            () = self.keep() => {}
            () = closed.cancelled() => {}
        }
        if let State::Ready(live) = &*self.link.state() {
            live.end(&Cause::new("ECONNRESET", "the locker was closed"));
        }
        self.link.publish(State::Closed);
    }

    async fn keep(&mut self) {
        let mut lost = Instant::now();
        let mut attempt = 0;
        loop {
            let (error, was_there) = match self.connect().await {
                Ok(connected) => {
                    let since = Instant::now();
                    let cause = Box::pin(self.serve(connected)).await;
                    lost = Instant::now();
                    if since.elapsed() >= SUCCESS {
                        attempt = 0;
                    }
                    (ConnectError::Passing(cause), true)
                }
                Err(error) => (error, false),
            };
            attempt += 1;
            let cause = error.cause().clone();
            self.link.publish(State::Connecting(Some(error)));
            self.link.shared.trouble.notify_one();
            self.tell(was_there, &cause);
            match self.decide(attempt, lost, cause.clone()).await {
                Decision::RetryAfter(pause) => self.pause(pause).await,
                Decision::GiveUp(reason) => {
                    self.observers = None;
                    self.link.publish(State::GaveUp(reason.unwrap_or(cause)));
                    // Keeps the state readable until the link is closed.
                    pending::<()>().await;
                }
            }
        }
    }

    /// Tells the lockers that there is no connection, or not the one that was there.
    fn tell(&self, was_there: bool, cause: &Cause) {
        let server = &self.link.server;
        let message = if was_there {
            format!("The connection to {server} was lost ({cause})").into()
        } else {
            format!("{server} could not be reached ({cause})").into()
        };
        let why = Unavailable { message, is_final: false, sent: false, cause: Some(cause.clone()) };
        self.link.members.on_disconnected(&why);
    }

    /// Waits before the next try to connect, but not where the sentinels name another primary meanwhile.
    async fn pause(&self, pause: Duration) {
        let Some(sentinels) = &self.link.sentinels else { return sleep(pause).await };
        let least = pause.min(Reconnect::BACKOFF.first);
        sleep(least).await;
        tokio::select! {
            () = sleep(pause.saturating_sub(least)) => {}
            () = Box::pin(sentinels.renamed()) => {}
        }
    }

    /// Waits until the sentinels have another primary than the one that a connection leads to, and says why it is to be left.
    async fn moved(&self, primary: Option<&Address>) -> Cause {
        match (&self.link.sentinels, primary) {
            (Some(sentinels), Some(primary)) => Box::pin(sentinels.moved(primary)).await,
            _ => pending().await,
        }
    }

    async fn connect(&self) -> Result<Connected, ConnectError> {
        connect(&self.link, &self.name).await
    }

    /// Lets calls use a connection until it is gone, and says why it is. One that has gone silent is replaced by another,
    /// if there can be one and the first has still not said a word by then.
    async fn serve(&mut self, mut connected: Connected) -> Cause {
        loop {
            self.times_connected += 1;
            let Connected { live, subscriptions, round_trip, primary } = connected;
            let publish = || self.link.publish(State::Ready(live.clone()));
            self.link.members.publish(&live, subscriptions, publish);
            let patience = SILENCE.max(round_trip * ROUND_TRIPS);
            tokio::select! {
                cause = live.drive(patience) => return cause,
                cause = self.moved(primary.as_ref()) => {
                    live.end(&cause);
                    return cause;
                }
                next = self.replacement(&live) => {
                    let silence = patience.as_millis();
                    let cause = Cause::new("ETIMEDOUT", format!("no reply within {silence} ms"));
                    live.end(&cause);
                    self.tell(true, &cause);
                    connected = next;
                }
                never = self.link.confirmations.keep_beside(&live, &self.link, &self.name) => return never,
            }
        }
    }

    /// Waits until the connection is silent, and is still so when there is another one.
    async fn replacement(&self, live: &Live) -> Connected {
        loop {
            let silent = live.silent().await;
            self.link.shared.trouble.notify_one();
            // If there is no other one to be had, the first is as good as any.
            if let Ok(connected) = self.connect().await {
                // A server that has stood still answers both at once, and this one's answer may be the later one.
                sleep(SILENCE / 10).await;
                // Whoever reads it at the moment is waited for: what has come counts, even if nobody has been told yet.
                silent.read();
                if silent.is_silent() {
                    return connected;
                }
            }
        }
    }

    async fn decide(&self, attempt: u32, lost: Instant, cause: Cause) -> Decision {
        let retrying_for = lost.elapsed();
        match &self.link.config.reconnect {
            Reconnect::Backoff { backoff, max_attempts, max_time } => {
                if max_attempts.is_some_and(|max| attempt >= max) {
                    return Decision::GiveUp(None);
                }
                let mut pause = backoff.delay(attempt, self.link.machine.random.unit());
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
