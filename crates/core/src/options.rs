//! Settings after validation, and their defaults. Whoever gets one of these may rely on it.

use std::time::Duration;

/// What `lockFactory` was told about the locker itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// In front of every lock's name in the store; never empty.
    pub prefix: String,
    /// The longest a call may take, connection trouble included.
    pub command_timeout: Duration,
}

impl Settings {
    pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
}

/// How one lock is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockOptions {
    /// The lease: how long the lock lives without an unlock or a renewal.
    pub expire: Duration,
    pub wait: Wait,
    /// Time between two looks at a lock whose end nobody will tell: one of lock-inc 1.2.0.
    pub retry_interval: Duration,
    /// Whether the lock is renewed until it is unlocked.
    pub renew: bool,
    /// How long a renewed lock is held at the most.
    pub max_hold: Option<Duration>,
    /// How long the JavaScript thread may not run before renewal stops.
    pub max_blocked: Option<Duration>,
    /// Whether each renewal is to be told.
    pub observed: bool,
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

impl LockOptions {
    pub const EXPIRE: Duration = Duration::from_mins(1);
    pub const MAX_RETRY_ATTEMPTS: f64 = 20.0;
    pub const RETRY_INTERVAL: Duration = Duration::from_millis(200);
}
