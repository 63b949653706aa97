//! Where locks live. The locker knows this trait only.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    core::{Contention, Nonce, Resource},
    error::Result,
};

pub mod memory;
pub mod redis;

/// A boxed future. The trait is used as `dyn Driver`, so its methods cannot be `async fn`; one allocation a call
/// is small beside a round trip.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Until when a caller waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: Instant,
    /// The time that was given in all, for the error that says it has passed.
    pub limit: Duration,
}

impl Deadline {
    pub fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

/// A wish for a resource. Its nonce stays the same however often it is sent, which makes sending it again safe.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub resource: Resource,
    pub nonce: Nonce,
    pub lease: Duration,
}

/// The store's answer to an [`Attempt`].
#[derive(Clone, Debug)]
pub enum Acquired {
    Granted(Grant),
    Contended(Contention),
}

#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// Fencing token.
    pub token: u64,
    /// When the command that set the lease left, at the earliest: the lease counts from here.
    pub sent: Instant,
}

/// The store's answer to a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// The lock was held, and is free now.
    Yes,
    /// The nonce held nothing.
    No,
    /// The nonce holds nothing; but the release had to be sent again, so that the first sending may have done it.
    NotAnyMore,
}

/// A store of locks. All of it is atomic per resource, and all of it may be sent again when an answer is lost.
///
/// An error whose [`outcome_unknown`](crate::error::Error::outcome_unknown) is true leaves it to the caller to
/// cancel.
pub trait Driver: Send + Sync + 'static {
    /// Takes the resource if it is free, in one round trip.
    fn acquire<'a>(&'a self, attempt: &'a Attempt, deadline: Deadline) -> Answer<'a, Acquired>;

    /// Gives up what this nonce holds. It never touches what another nonce holds, so it is also how an attempt of
    /// unknown outcome is cancelled.
    fn release<'a>(
        &'a self,
        resource: &'a Resource,
        nonce: Nonce,
        deadline: Deadline,
    ) -> Answer<'a, Released>;

    /// Whether anybody holds the resource.
    fn is_locked<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, bool>;

    /// Removes every lock under the prefix, whoever holds it. `patience` bounds each round trip.
    fn purge(&self, patience: Duration) -> Answer<'_, ()>;

    /// From now on nothing waits for a connection any more: without one, calls are refused as closed.
    fn begin_close(&self);

    /// Ends the connection. Called once, when the last call has been answered.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// A driver that the locker and its background tasks share.
pub type SharedDriver = Arc<dyn Driver>;
