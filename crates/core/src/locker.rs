//! Runs a driver: tries again, keeps what is held, cancels what nobody waits for any more, shuts down in order.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::{
    Either::{Left, Right},
    pending, ready,
};
use tokio::{
    sync::{Notify, OnceCell},
    time::{sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::waiting::WaitingCall;
use crate::{
    Backoff, Clock, Hold, Holds, Inspection, Lease, Moment, Nonce, Nonces, Random, Renewal, Renewing,
    Resource, StoreClock, Waiters,
    error::{Error, Limit, Result},
    options::{LockOptions, Wait},
    store::{
        Acquired, Attempt, Deadline, Ownership, Release, Released, Renew, Renewed, SharedStore, StoreEvent,
        StoreEvents,
    },
};

mod keeping;
mod waiting;

/// Between two tries of a background cancel.
const CANCEL_BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), max: Duration::from_secs(2) };

/// Takes and gives up locks under one prefix, through one driver.
pub struct Locker {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    limit: Limit,
    nonces: Nonces,
    /// std's Mutex: held for a few instructions, never over an await.
    holds: Mutex<Holds>,
    /// The same goes for these. Whoever has both takes this one first.
    waiters: Mutex<Waiters<WaitingCall>>,
    /// By it, news of a grant are dated. None before a server has told its time on the present connection.
    store_clock: Mutex<Option<StoreClock>>,
    /// Whether there has been a connection.
    connected: AtomicBool,
    /// Whether the store tells events.
    subscribed: AtomicBool,
    /// When the task that looks after all this will wake up by itself, if ever.
    wakes: Mutex<Option<Moment>>,
    /// Something is due before that.
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

/// How the store reaches a locker. It keeps none alive.
struct Ears(Weak<Locker>);

impl StoreEvents for Ears {
    fn hear(&self, event: StoreEvent) {
        let Some(locker) = self.0.upgrade() else { return };
        match event {
            StoreEvent::Connected { subscribed } => locker.on_connected(subscribed),
            StoreEvent::Removed { hash, token } => locker.lost(&hash, token, LostReason::Purged),
            StoreEvent::Granted { hash, hand_over, at } => locker.deliver_news(&hash, hand_over, at),
        }
    }
}

/// Why a lock was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// Its lease ended.
    Expired,
    /// Its lease ended while a renewal got no answer.
    Connection,
    /// Somebody else holds the resource.
    Stolen,
    /// It was removed: by a purge, a forced unlock, an unlock of lock-inc 1.2.0, or with all data.
    Purged,
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
    /// `start`: 128 random bits for the nonces. Must be called on the runtime.
    pub fn open(
        store: SharedStore,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        listener: Box<dyn Listener>,
        command_timeout: Duration,
        start: u128,
    ) -> Arc<Self> {
        let locker = Arc::new(Self {
            store,
            clock,
            random,
            limit: Limit { time: command_timeout, option: "settings.commandTimeout" },
            nonces: Nonces::new(start),
            holds: Mutex::default(),
            waiters: Mutex::default(),
            store_clock: Mutex::default(),
            connected: AtomicBool::new(false),
            subscribed: AtomicBool::new(false),
            wakes: Mutex::default(),
            sooner: Notify::new(),
            answered: Notify::new(),
            listener,
            closing: CancellationToken::new(),
            calls: TaskTracker::new(),
            cancels: TaskTracker::new(),
            closed: OnceCell::new(),
        });
        locker.store.start(Arc::new(Ears(Arc::downgrade(&locker))));
        tokio::spawn(locker.clone().keep());
        locker
    }

    /// Wraps a call so that [`close`](Self::close) waits for it, and so that none starts after it.
    pub fn call<T, F>(&self, call: F) -> impl Future<Output = Result<T>> + use<T, F>
    where
        F: Future<Output = Result<T>>,
    {
        // Not an async block: that would keep room for `call` twice.
        let call = if self.closing.is_cancelled() { Left(ready(Err(Error::Closed))) } else { Right(call) };
        self.calls.track_future(call)
    }

    fn attempt(&self, resource: Resource, options: &LockOptions) -> Attempt {
        let lease = options.max_hold.map_or(options.expire, |longest| options.expire.min(longest));
        Attempt { resource, nonce: self.nonces.next(), lease, waits: options.wait != Wait::No }
    }

    /// Takes the resource, unless somebody else holds it, or `cancelled` comes first. For one that waits there is
    /// [`lock_or_wait`](Self::lock_or_wait).
    pub fn lock(
        self: Arc<Self>,
        resource: Resource,
        options: LockOptions,
        cancelled: Option<CancellationToken>,
    ) -> impl Future<Output = Result<Hold>> {
        let attempt = self.attempt(resource, &options);
        // Not an async function: that would keep room for its arguments twice.
        async move {
            if cancelled.as_ref().is_some_and(CancellationToken::is_cancelled) {
                return Err(Error::Cancelled);
            }
            let answer = tokio::select! {
                biased;
                answer = self.store.acquire(&attempt, self.deadline()) => answer,
                () = cancellation(cancelled) => Err(Error::Cancelled),
            };
            let Attempt { resource, nonce, lease: length, .. } = attempt;
            match answer {
                Ok(Acquired::Granted(grant)) => {
                    let lease = Lease { sent: grant.sent, length };
                    Ok(self.hold(resource, nonce, grant.token, lease, &options))
                }
                Ok(Acquired::Contended { contention, .. }) => Err(Error::Locked(contention.into())),
                Err(error) => {
                    // It may have been granted without its being known.
                    if error.outcome_unknown() || matches!(error, Error::Cancelled) {
                        self.cancel(resource, nonce, None, length);
                    }
                    Err(error)
                }
            }
        }
    }

    /// Enters a grant.
    fn hold(
        &self,
        resource: Resource,
        nonce: Nonce,
        token: u64,
        lease: Lease,
        options: &LockOptions,
    ) -> Hold {
        let now = self.now();
        let LockOptions { expire, renew, max_hold, max_blocked, observed, .. } = *options;
        let renewal = if renew {
            Some(Renewal { lease: expire, until: max_hold.map(|time| now + time), max_blocked, once: false })
        } else if lease.length < expire {
            Some(Renewal { lease: expire, until: Some(lease.sent + expire), max_blocked: None, once: true })
        } else {
            None
        };
        let hold = Hold { resource, nonce, token, lease, over: lease.over(now), renewal, observed };
        if !self.change_holds(|holds| holds.insert(hold.clone())) {
            self.listener.tell(Event::Lost(hold.clone(), LostReason::Purged));
        }
        hold
    }

    /// Gives up the lock with this token, or the newest one on the resource. `false` if this locker holds none, or
    /// if the store says that it had expired or been taken away.
    pub async fn unlock(self: Arc<Self>, resource: Resource, token: Option<u64>) -> Result<bool> {
        // Whoever has stood still past the end of its lease is told so first.
        let now = self.now();
        self.look_after_due(now);
        // From here on it is not renewed any more.
        let hold = self.holds().take(resource.hash(), token);
        let Some((nonce, lease, over)) = hold.map(|hold| (hold.nonce, hold.lease, hold.over)) else {
            return Ok(false);
        };
        // What has expired is given up all the same: the store may still keep it, if only for a moment.
        let expired = now >= lease.end();
        let released =
            self.store.release(Release { resource: &resource, nonce, queued: None }, self.deadline()).await;
        match released {
            Ok(Released::Yes(next)) => {
                if let Some((hand_over, since)) = next {
                    self.deliver(&resource.shared_hash(), hand_over, since);
                }
                Ok(!expired)
            }
            // While the lease runs nobody but ourselves can have ended it, a purge aside.
            Ok(Released::NotAnyMore) => Ok(self.now() < lease.end()),
            Ok(Released::No) => Ok(false),
            Err(error) => {
                self.cancel(resource, nonce, None, self.now().until(over));
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
        let now = self.now();
        let Some(hold) = hold.filter(|hold| now < hold.lease.end()) else {
            if in_time {
                self.turn_over(hash, token);
            }
            return Ok(false);
        };
        if !in_time {
            // Nothing is sent any more: the driver says why the time was not enough.
            let look = Renew { resource: &resource, nonce: hold.nonce, renewing: Renewing::Look };
            return self.store.renew(look, deadline).await.map(|_| false);
        }
        let length = hold.renewal.map_or(lease, |renewal| renewal.cut(now, lease));
        self.announce(&hold, length, self.limit.time);
        let renew = Renew { resource: &resource, nonce: hold.nonce, renewing: Renewing::Set(length) };
        let answer = self.store.renew(renew, deadline).await;
        let result = match answer {
            Ok(Renewed { ownership: Ownership::Held, sent }) => {
                Ok(self.renewed(&hold, Lease { sent, length }))
            }
            Ok(Renewed { ownership: Ownership::Gone, .. }) => {
                self.lost(hash, token, LostReason::Purged);
                Ok(false)
            }
            Ok(Renewed { ownership: Ownership::Taken, .. }) => {
                self.lost(hash, token, LostReason::Stolen);
                Ok(false)
            }
            Err(error) => {
                let now = self.now();
                self.change_holds(|holds| {
                    if !error.outcome_unknown() {
                        // Nothing has changed.
                        holds.restore(hold.clone(), now);
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
        holds.get(hash, Some(token)).map_or(Duration::ZERO, |hold| self.now().until(hold.lease.end()))
    }

    pub async fn is_locked(self: Arc<Self>, resource: Resource) -> Result<bool> {
        self.store.is_locked(&resource, self.deadline()).await
    }

    /// Who holds the resource, and who waits for it.
    pub async fn inspect(self: Arc<Self>, resource: Resource) -> Result<Option<Inspection>> {
        self.store.inspect(&resource, self.deadline()).await
    }

    /// Takes the resource from whoever holds it. `false` if nobody does.
    pub async fn force_unlock(self: Arc<Self>, resource: Resource) -> Result<bool> {
        self.store.remove(&resource, self.deadline()).await
    }

    pub async fn purge(self: Arc<Self>) -> Result<()> {
        self.store.purge(self.limit).await
    }

    /// Lets what is in flight settle, then ends the connection. Whoever waits for a lock or for a connection is told
    /// at once that the locker is closed, and leaves the queue. Held locks stay until their leases end, as in lock-inc
    /// 1.2.0.
    ///
    /// From this call on, not from when the future is polled, other calls are refused.
    pub fn close(self: Arc<Self>) -> impl Future<Output = ()> {
        self.closing.cancel();
        self.send_waiters_away();
        self.shut_down()
    }

    async fn shut_down(self: Arc<Self>) {
        let shut_down = || async {
            self.store.begin_close();
            for tasks in [&self.calls, &self.cancels] {
                tasks.close();
                tasks.wait().await;
            }
            self.give_whole_leases().await;
            self.store.close().await;
        };
        self.closed.get_or_init(shut_down).await;
        self.sooner.notify_one();
    }

    /// Gives back a lock that nobody will unlock, in the background. Must be called on the runtime.
    pub fn abandon(self: &Arc<Self>, hold: Hold) {
        self.holds().take(hold.resource.hash(), Some(hold.token));
        self.cancel(hold.resource, hold.nonce, None, self.now().until(hold.over));
    }

    /// Releases by nonce in the background until the store has confirmed it, or until the lock, if it was ever
    /// granted, has expired by itself. `queued`: the lease that was asked for, if the call may be in the queue.
    fn cancel(self: &Arc<Self>, resource: Resource, nonce: Nonce, queued: Option<Duration>, lease: Duration) {
        let locker = self.clone();
        let expired = self.now() + lease;
        self.cancels.spawn(async move {
            for attempt in 1.. {
                // An error is no news to anybody: the caller has been told, and the next try is under way.
                let answer = locker
                    .store
                    .release(Release { resource: &resource, nonce, queued }, locker.deadline())
                    .await;
                if let Ok(Released::Yes(Some((hand_over, since)))) = answer {
                    locker.deliver(&resource.shared_hash(), hand_over, since);
                }
                if answer.is_ok() || locker.closing.is_cancelled() || locker.now() >= expired {
                    return;
                }
                tokio::select! {
                    () = locker.closing.cancelled() => {}
                    () = sleep(CANCEL_BACKOFF.delay(attempt, locker.random.unit())) => {}
                }
            }
        });
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn subscribed(&self) -> bool {
        self.subscribed.load(Ordering::Relaxed)
    }

    fn set_store_clock(&self, clock: Option<StoreClock>) {
        *self.store_clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
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
        let result = change(&mut holds);
        let next = holds.next_due();
        drop(holds);
        if let Some(next) = next {
            self.wake_by(next);
        }
        result
    }

    /// The task that looks after holds and waiters is to wake up by then.
    fn wake_by(&self, when: Moment) {
        let wakes = *self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        if wakes.is_none_or(|wakes| when < wakes) {
            self.sooner.notify_one();
        }
    }
}

/// Waits until a call is given up, if that can happen.
async fn cancellation(cancelled: Option<CancellationToken>) {
    match cancelled {
        Some(cancelled) => cancelled.cancelled_owned().await,
        None => pending().await,
    }
}
