//! Runs a driver: tries again, keeps what is held, cancels what nobody waits for any more, shuts down in order.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OnceCell, mpsc},
    time::{sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    core::{
        Backoff, Contention, Hold, Holds, Lease, Moment, Nonce, Nonces, Renewal, Renewing, Resource, Standing,
    },
    driver::{Acquired, Attempt, Deadline, Grant, LostReason, Notice, Released, Renewed, SharedDriver},
    error::{Error, Limit, Result},
    options::{LockOptions, Wait},
    random,
};

mod keeping;

/// Between two tries of a background cancel.
const CANCEL_BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), max: Duration::from_secs(2) };

/// In less time an answer cannot be expected from every server that is well.
const ENOUGH_TO_ASK: Duration = Duration::from_millis(50);

/// The shortest time between two attempts on a locked resource, as with a JavaScript timer.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// Takes and gives up locks under one prefix, through one driver.
pub struct Locker {
    driver: SharedDriver,
    limit: Limit,
    nonces: Nonces,
    /// std's Mutex: held for a few instructions, never over an await.
    holds: Mutex<Holds>,
    /// Something in the holds is due earlier than before.
    sooner: Notify,
    /// The store has answered, or will not, what was asked about some hold.
    answered: Notify,
    listener: Box<dyn Listener>,
    closing: CancellationToken,
    /// Calls that a caller waits for.
    calls: TaskTracker,
    /// Releases that nobody waits for.
    cancels: TaskTracker,
    closed: OnceCell<()>,
}

/// Hears what happens to a locker's locks.
pub trait Listener: Send + Sync {
    /// `false` when nobody listens any more.
    fn tell(&self, event: Event) -> bool;

    /// Since when the thread that uses the locks has given no sign of life. Asks for one.
    fn silent_for(&self) -> Duration;
}

/// What a listener is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// A lock can no longer be relied on.
    Lost(Hold, LostReason),
    /// A lock has a new lease. Told only of holds that are observed.
    Renewed(Hold),
    /// There is a connection again.
    Reconnected,
    /// Nothing has happened. Tells whether anybody listens.
    Alive,
    /// Nothing more will come: the locker is closed and holds nothing.
    Ended,
}

impl Locker {
    /// `start`: 128 random bits for the nonces. `notices`: what the driver says. Must be called on the runtime.
    pub fn open(
        driver: SharedDriver,
        notices: mpsc::UnboundedReceiver<Notice>,
        listener: Box<dyn Listener>,
        command_timeout: Duration,
        start: u128,
    ) -> Arc<Self> {
        let locker = Arc::new(Self {
            driver,
            limit: Limit { time: command_timeout, option: "settings.commandTimeout" },
            nonces: Nonces::new(start),
            holds: Mutex::default(),
            sooner: Notify::new(),
            answered: Notify::new(),
            listener,
            closing: CancellationToken::new(),
            calls: TaskTracker::new(),
            cancels: TaskTracker::new(),
            closed: OnceCell::new(),
        });
        tokio::spawn(locker.clone().keep(notices));
        locker
    }

    /// Wraps a call so that [`close`](Self::close) waits for it, and so that none starts after it.
    pub fn call<T, F>(&self, call: F) -> impl Future<Output = Result<T>> + use<T, F>
    where
        F: Future<Output = Result<T>>,
    {
        let closing = self.closing.clone();
        self.calls.track_future(async move {
            if closing.is_cancelled() {
                return Err(Error::Closed);
            }
            call.await
        })
    }

    /// Takes the resource, trying as often or as long as the options allow while somebody else holds it, until
    /// `cancelled`.
    pub async fn lock(
        self: Arc<Self>,
        resource: Resource,
        options: LockOptions,
        cancelled: CancellationToken,
    ) -> Result<Hold> {
        let lease = options.max_hold.map_or(options.expire, |longest| options.expire.min(longest));
        let attempt = Attempt { resource, nonce: self.nonces.next(), lease };
        let patience = match options.wait {
            Wait::AtMost(time) if !time.is_zero() => {
                Some(Deadline::after(Limit { time, option: "options.timeout" }))
            }
            _ => None,
        };
        let mut attempts = 0;
        let mut contended = None;
        // There was an attempt of which no answer came: it may have been granted.
        let mut unknown = false;
        let error = loop {
            if cancelled.is_cancelled() {
                break Error::Cancelled;
            }
            attempts += 1;
            let deadline = self.deadline().earlier(patience);
            let enough = deadline.left() >= ENOUGH_TO_ASK;
            let answer = tokio::select! {
                answer = self.driver.acquire(&attempt, deadline) => answer,
                () = cancelled.cancelled() => {
                    unknown = true;
                    break Error::Cancelled;
                }
            };
            let error = match answer {
                Ok(Acquired::Granted(grant)) => return Ok(self.hold(attempt, grant, &options)),
                Ok(Acquired::Contended(contention)) => Error::Locked(contention),
                Err(error) => error,
            };
            unknown |= error.outcome_unknown();
            let error = match (error, contended.take()) {
                // In so short a time no answer says nothing: what is known is who holds it.
                (Error::Connection(_), Some(contention)) if !enough => Error::Locked(contention),
                (error, _) => error,
            };
            if let Error::Locked(contention) = &error {
                contended = Some(contention.clone());
            }
            let again = match (options.wait, &error) {
                (Wait::Attempts(more), Error::Locked(_)) => attempts <= more,
                (Wait::AtMost(time), _) if time.is_zero() => false,
                // The time includes the one in which there is no connection.
                (Wait::AtMost(_) | Wait::Forever, _) => {
                    !error.is_final() && patience.is_none_or(|patience| !patience.left().is_zero())
                }
                _ => false,
            };
            if !again {
                break error;
            }
            let pause = options.retry_interval.max(MIN_RETRY_INTERVAL);
            let pause = patience.map_or(pause, |patience| pause.min(patience.left()));
            tokio::select! {
                () = self.closing.cancelled() => break Error::Closed,
                () = cancelled.cancelled() => {}
                () = sleep(pause) => {}
            }
        };
        if unknown {
            self.cancel(attempt.resource, attempt.nonce, attempt.lease);
        }
        Err(error)
    }

    fn hold(&self, attempt: Attempt, grant: Grant, options: &LockOptions) -> Hold {
        let now = Moment::now();
        let lease = Lease { sent: grant.sent, length: attempt.lease };
        let hold = Hold {
            resource: attempt.resource,
            nonce: attempt.nonce,
            token: grant.token,
            lease,
            over: lease.over(now),
            renewal: options.renew.then(|| Renewal {
                lease: options.expire,
                until: options.max_hold.map(|time| now + time),
                max_blocked: options.max_blocked,
            }),
            observed: options.observed,
        };
        if !self.change_holds(|holds| holds.insert(hold.clone())) {
            self.listener.tell(Event::Lost(hold.clone(), LostReason::Purged));
        }
        hold
    }

    /// Gives up the lock with this token, or the newest one on the resource. `false` if this locker holds none, or
    /// if the store says that it had expired or been taken away.
    pub async fn unlock(self: Arc<Self>, resource: Resource, token: Option<u64>) -> Result<bool> {
        // From here on it is not renewed any more.
        let Some(hold) = self.holds().take(resource.hash(), token) else { return Ok(false) };
        // What has expired is given up all the same: the store may still keep it, if only for a moment.
        let expired = Moment::now() >= hold.lease.end();
        let released = self.driver.release(&resource, hold.nonce, self.deadline()).await;
        match released {
            Ok(Released::Yes) => Ok(!expired),
            // While the lease runs nobody but ourselves can have ended it, a purge aside.
            Ok(Released::NotAnyMore) => Ok(Moment::now() < hold.lease.end()),
            Ok(Released::No) => Ok(false),
            Err(error) => {
                self.cancel(resource, hold.nonce, Moment::now().until(hold.over));
                Err(error)
            }
        }
    }

    /// A new lease from now on for a lock that can still be relied on; `false` if it cannot.
    pub async fn extend(self: Arc<Self>, resource: Resource, token: u64, lease: Duration) -> Result<bool> {
        let hash = resource.hash();
        let deadline = self.deadline();
        let in_time = self.turn(hash, token, deadline).await;
        let hold = self.holds().get(hash, Some(token)).cloned();
        let now = Moment::now();
        let Some(hold) = hold.filter(|hold| now < hold.lease.end()) else {
            if in_time {
                self.turn_over(hash, token);
            }
            return Ok(false);
        };
        if !in_time {
            // Nothing is sent any more: the driver says why the time was not enough.
            return self.driver.renew(&resource, hold.nonce, Renewing::Look, deadline).await.map(|_| false);
        }
        let length = hold.renewal.map_or(lease, |renewal| renewal.cut(now, lease));
        self.announce(&hold, length, self.limit.time);
        let answer = self.driver.renew(&resource, hold.nonce, Renewing::Set(length), deadline).await;
        let result = match answer {
            Ok(Renewed { standing: Standing::Held, sent }) => Ok(self.renewed(&hold, Lease { sent, length })),
            Ok(Renewed { standing: Standing::Gone, .. }) => {
                self.lost(hash, token, LostReason::Purged);
                Ok(false)
            }
            Ok(Renewed { standing: Standing::Taken, .. }) => {
                self.lost(hash, token, LostReason::Stolen);
                Ok(false)
            }
            Err(error) => {
                let now = Moment::now();
                self.change_holds(|holds| {
                    if !error.outcome_unknown() {
                        // Nothing has changed.
                        holds.renewed(hash, token, hold.lease, hold.over, now);
                    }
                    if hold.renewal.is_some() {
                        holds.put_off(hash, token, now);
                    }
                });
                Err(error)
            }
        };
        self.turn_over(hash, token);
        result
    }

    /// Waits until nothing is being asked about a hold, so that answers come in the order of what was asked. `false` if
    /// the deadline has passed before.
    async fn turn(&self, hash: &str, token: u64, deadline: Deadline) -> bool {
        loop {
            let answered = self.answered.notified();
            tokio::pin!(answered);
            answered.as_mut().enable();
            if self.may_ask(hash, token) {
                return true;
            }
            if timeout_at(deadline.at.into(), answered).await.is_err() {
                return false;
            }
        }
    }

    fn may_ask(&self, hash: &str, token: u64) -> bool {
        let mut holds = self.holds();
        holds.get(hash, Some(token)).is_none() || holds.ask(hash, token)
    }

    fn turn_over(&self, hash: &str, token: u64) {
        self.holds().answered(hash, token);
        self.answered.notify_waiters();
    }

    /// For how long the lock with this token can be relied on, without another word. Never asks the store.
    pub fn remaining(&self, hash: &str, token: u64) -> Duration {
        let holds = self.holds();
        holds.get(hash, Some(token)).map_or(Duration::ZERO, |hold| Moment::now().until(hold.lease.end()))
    }

    pub async fn is_locked(self: Arc<Self>, resource: Resource) -> Result<bool> {
        self.driver.is_locked(&resource, self.deadline()).await
    }

    /// Who holds the resource.
    pub async fn inspect(self: Arc<Self>, resource: Resource) -> Result<Option<Contention>> {
        self.driver.inspect(&resource, self.deadline()).await
    }

    /// Takes the resource from whoever holds it. `false` if nobody does.
    pub async fn force_unlock(self: Arc<Self>, resource: Resource) -> Result<bool> {
        self.driver.remove(&resource, self.deadline()).await
    }

    pub async fn purge(self: Arc<Self>) -> Result<()> {
        self.driver.purge(self.limit).await
    }

    /// Lets what is in flight settle, then ends the connection. Whoever waits for a lock or for a connection is told
    /// at once that the locker is closed. Held locks stay until their leases end, as in lock-inc 1.2.0.
    pub async fn close(self: Arc<Self>) {
        let shut_down = || async {
            self.closing.cancel();
            self.driver.begin_close();
            for tasks in [&self.calls, &self.cancels] {
                tasks.close();
                tasks.wait().await;
            }
            self.driver.close().await;
        };
        self.closed.get_or_init(shut_down).await;
        self.sooner.notify_one();
    }

    /// Gives back a lock that nobody will unlock, in the background. Must be called on the runtime.
    pub fn abandon(self: &Arc<Self>, hold: Hold) {
        self.holds().take(hold.resource.hash(), Some(hold.token));
        self.cancel(hold.resource, hold.nonce, Moment::now().until(hold.over));
    }

    /// Releases by nonce in the background until the store has confirmed it, or until the lock, if it was ever
    /// granted, has expired by itself.
    fn cancel(self: &Arc<Self>, resource: Resource, nonce: Nonce, lease: Duration) {
        let locker = self.clone();
        let expired = Moment::now() + lease;
        self.cancels.spawn(async move {
            for attempt in 1.. {
                // An error is no news to anybody: the caller has been told, and the next try is under way.
                let answer = locker.driver.release(&resource, nonce, locker.deadline()).await;
                if answer.is_ok() || locker.closing.is_cancelled() || Moment::now() >= expired {
                    return;
                }
                tokio::select! {
                    () = locker.closing.cancelled() => {}
                    () = sleep(CANCEL_BACKOFF.delay(attempt, random::unit())) => {}
                }
            }
        });
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.limit)
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the holds, and sees to it that what has become due earlier is not missed.
    fn change_holds<T>(&self, change: impl FnOnce(&mut Holds) -> T) -> T {
        let mut holds = self.holds();
        let before = holds.next_due();
        let result = change(&mut holds);
        if holds.next_due() < before || before.is_none() {
            self.sooner.notify_one();
        }
        result
    }
}
