//! How a lock is to be taken, after validation. Whoever gets one of these may rely on it.

use std::{num::NonZeroU64, time::Duration};

use crate::Mode;

/// How one lock is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockOptions {
    /// The lease: how long the lock lives without an unlock or a renewal.
    pub expire: Duration,
    pub mode: Mode,
    /// Whether to take the resource from whoever holds it.
    pub steal: bool,
    pub wait: Wait,
    /// Time between two looks at a lock whose end nobody will tell: one of lock-inc 1.2.0.
    pub retry_interval: Duration,
    /// Whether the lock is renewed until it is unlocked.
    pub renew: bool,
    /// How long a renewed lock is held at the most.
    pub max_hold: Option<Duration>,
    /// How long the JavaScript thread may not run before renewal stops.
    pub max_blocked: Option<Duration>,
    /// Whether each renewal is to be told, and each that fails.
    pub observed: bool,
    /// What the listener knows the call by, if it is to be told when that begins to wait.
    pub call: Option<NonZeroU64>,
}

/// What to do while somebody else holds the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: one attempt.
    No,
    /// Wait in the queue for so long; the time counts in which there is no connection.
    AtMost(Duration),
    /// Wait until there is a lock, or the call is cancelled.
    Forever,
}
