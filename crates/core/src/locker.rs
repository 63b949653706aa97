//! Takes, keeps and gives up locks through a store: tries again, keeps what is held, cancels what nobody waits for any
//! more, shuts down in order.
//!
//! # Layout
//!
//! Parts with a state of their own:
//!
//! * [`held`]: what is held, and who may ask about a hold.
//! * [`waiting`]: the calls that wait.
//! * [`events`]: what the store tells by itself.
//! * [`close`]: whether the locker is open, and what is under way.
//! * [`alarm`]: wakes the locker's own task when it has something to do.
//!
//! What the locker does with them:
//!
//! * [`acquire`]: a lock without waiting. [`waiting`], [`poll`] and [`last_poll`]: one that waits.
//!   [`hand_over`]: how it gets it. [`several`]: several at once. [`confirmation`]: when a grant counts.
//! * [`renewal`]: renewal and extension. [`loss`]: how a lock is lost. [`release`]: unlock, and cancels in the background.
//! * [`query`]: everything that is held and waited for.
//! * [`task`]: its own task, which does what is due.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use self::{
    alarm::Alarm, close::Shutdown, events::StoreHearing, held::Held, last_poll::Leaving,
    waiting::WaitingCalls,
};
use crate::{
    Contention, Hold, Inspection, Moment, Nonce, Nonces, Random, Resource, Timer,
    error::{Error, Limit, Result},
    store::{Deadline, SharedStore},
};

mod acquire;
mod alarm;
mod close;
mod confirmation;
mod events;
mod hand_over;
mod held;
mod last_poll;
mod loss;
mod poll;
pub mod query;
mod release;
mod renewal;
mod several;
mod task;
mod waiting;

/// Takes and gives up locks under one prefix, through one store.
pub struct Locker {
    store: SharedStore,
    timer: Arc<Timer>,
    random: Arc<dyn Random>,
    listener: Box<dyn Listener>,
    /// For a call, unless it says otherwise.
    limit: Limit,
    nonces: Nonces,
    held: Held,
    waiting: WaitingCalls,
    leaving: Leaving,
    shutdown: Shutdown,
    /// Of the task that looks after all this.
    alarm: Arc<Alarm>,
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

    /// Asks the thread that uses the locks for a sign of life. Returns for how long it has given none.
    fn nudge(&self) -> Duration;
}

/// What a listener is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// A lock can no longer be relied on.
    Lost(Hold, LostReason),
    /// A lock has a new lease. Told only of holds that are observed.
    Renewed(Hold),
    /// A renewal of a lock came to nothing. It is tried again while the lease runs. Told only of holds that are observed.
    RenewalFailed(Hold, Error),
    /// The call with this number waits: who is in the way. Told once more where it has to join the queue anew.
    Waiting(NonZeroU64, Box<Contention>),
    /// There is no connection, or a try to make one has failed.
    Disconnected(Error),
    /// There is a connection again.
    Reconnected,
    /// Nothing has happened. Tells whether anybody listens.
    Alive,
    /// Nothing more will come: the locker is closed and holds nothing.
    Ended,
}

impl Locker {
    /// `seed`: 128 random bits for the nonces. Must be called on the runtime.
    pub fn open(
        store: SharedStore,
        timer: Arc<Timer>,
        random: Arc<dyn Random>,
        listener: Box<dyn Listener>,
        command_timeout: Duration,
        seed: u128,
    ) -> Arc<Self> {
        let alarm = Arc::<Alarm>::default();
        let locker = Arc::new(Self {
            held: Held::new(alarm.clone()),
            waiting: WaitingCalls::new(alarm.clone(), store.clone()),
            leaving: Leaving::default(),
            shutdown: Shutdown::default(),
            alarm,
            store,
            timer,
            random,
            listener,
            limit: Limit { time: command_timeout, option: "settings.commandTimeout" },
            nonces: Nonces::new(seed),
        });
        locker.store.start(Arc::new(StoreHearing(Arc::downgrade(&locker))));
        tokio::spawn(locker.clone().run());
        locker
    }

    /// For how long a lock can be relied on, without another word. Never asks the store.
    pub fn remaining(&self, nonce: Nonce) -> Duration {
        self.held.remaining(nonce, self.now())
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

    fn now(&self) -> Moment {
        self.timer.now()
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.limit)
    }
}
