//! Runs a driver: tries again, keeps what is held, cancels what nobody waits for any more, shuts down in order.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::OnceCell, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    core::{
        Backoff, Hold, Holds, Nonce, Nonces, Resource,
        holds::{lease_end, lease_over},
    },
    driver::{Acquired, Attempt, Deadline, Released, SharedDriver},
    error::{Error, Result},
    options::LockOptions,
    random,
};

/// Between two tries of a background cancel.
const CANCEL_BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), max: Duration::from_secs(2) };

/// The shortest time between two attempts on a locked resource, as with a JavaScript timer.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// Takes and gives up locks under one prefix, through one driver.
pub struct Locker {
    driver: SharedDriver,
    command_timeout: Duration,
    nonces: Nonces,
    /// std's Mutex: held for a few instructions, never over an await.
    holds: Mutex<Holds>,
    closing: CancellationToken,
    /// Calls that a caller waits for.
    calls: TaskTracker,
    /// Releases that nobody waits for.
    cancels: TaskTracker,
    closed: OnceCell<()>,
}

impl Locker {
    /// `start`: 128 random bits for the nonces.
    pub fn new(driver: SharedDriver, command_timeout: Duration, start: u128) -> Arc<Self> {
        Arc::new(Self {
            driver,
            command_timeout,
            nonces: Nonces::new(start),
            holds: Mutex::default(),
            closing: CancellationToken::new(),
            calls: TaskTracker::new(),
            cancels: TaskTracker::new(),
            closed: OnceCell::new(),
        })
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

    /// Takes the resource, trying as often as the options allow while somebody else holds it.
    pub async fn lock(self: Arc<Self>, resource: Resource, options: LockOptions) -> Result<Hold> {
        let attempt = Attempt { resource, nonce: self.nonces.next(), lease: options.expire };
        let mut retries = options.retries;
        loop {
            let contention = match self.driver.acquire(&attempt, self.deadline()).await {
                Ok(Acquired::Granted(grant)) => {
                    let hold = Hold {
                        resource: attempt.resource,
                        nonce: attempt.nonce,
                        token: grant.token,
                        deadline: lease_end(grant.sent, attempt.lease),
                        over: lease_over(Instant::now(), attempt.lease),
                    };
                    let mut holds = self.holds();
                    holds.forget_over(Instant::now());
                    holds.insert(hold.clone());
                    return Ok(hold);
                }
                Ok(Acquired::Contended(contention)) => contention,
                Err(error) => {
                    if error.outcome_unknown() {
                        self.cancel(attempt.resource, attempt.nonce, attempt.lease);
                    }
                    return Err(error);
                }
            };
            if retries == 0 {
                return Err(Error::Locked(contention));
            }
            retries -= 1;
            tokio::select! {
                () = self.closing.cancelled() => return Err(Error::Closed),
                () = sleep(options.retry_interval.max(MIN_RETRY_INTERVAL)) => {}
            }
        }
    }

    /// Gives up the lock with this token, or the newest one on the resource. `false` if this locker holds none, or
    /// if the store says that it had expired or been taken away.
    pub async fn unlock(self: Arc<Self>, resource: Resource, token: Option<u64>) -> Result<bool> {
        let Some(hold) = self.holds().take(resource.hash(), token) else { return Ok(false) };
        let released = self.driver.release(&resource, hold.nonce, self.deadline()).await;
        let lease_left = hold.deadline.saturating_duration_since(Instant::now());
        match released {
            Ok(Released::Yes) => Ok(true),
            // While the lease runs nobody but ourselves can have ended it, a purge aside.
            Ok(Released::NotAnyMore) => Ok(!lease_left.is_zero()),
            Ok(Released::No) => Ok(false),
            Err(error) => {
                self.cancel(resource, hold.nonce, lease_left);
                Err(error)
            }
        }
    }

    pub async fn is_locked(self: Arc<Self>, resource: Resource) -> Result<bool> {
        self.driver.is_locked(&resource, self.deadline()).await
    }

    pub async fn purge(self: Arc<Self>) -> Result<()> {
        self.driver.purge(self.command_timeout).await
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
    }

    /// Gives back a lock that nobody will unlock, in the background. Must be called on the runtime.
    pub fn abandon(self: &Arc<Self>, hold: Hold) {
        self.holds().take(hold.resource.hash(), Some(hold.token));
        let lease_left = hold.deadline.saturating_duration_since(Instant::now());
        self.cancel(hold.resource, hold.nonce, lease_left);
    }

    /// Releases by nonce in the background until the store has confirmed it, or until the lock, if it was ever
    /// granted, has expired by itself.
    fn cancel(self: &Arc<Self>, resource: Resource, nonce: Nonce, lease: Duration) {
        let locker = self.clone();
        let expired = Instant::now() + lease;
        self.cancels.spawn(async move {
            for attempt in 1.. {
                // An error is no news to anybody: the caller has been told, and the next try is under way.
                let answer = locker.driver.release(&resource, nonce, locker.deadline()).await;
                if answer.is_ok() || locker.closing.is_cancelled() || Instant::now() >= expired {
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
        Deadline::after(self.command_timeout)
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
