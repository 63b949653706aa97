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
    /// The lease: how long the lock lives without an unlock.
    pub expire: Duration,
    /// How many more attempts follow a first one that found the resource locked.
    pub retries: u64,
    /// Time between two attempts.
    pub retry_interval: Duration,
}

impl LockOptions {
    pub const EXPIRE: Duration = Duration::from_mins(1);
    pub const MAX_RETRY_ATTEMPTS: u64 = 20;
    pub const RETRY_INTERVAL: Duration = Duration::from_millis(200);
}

/// Who takes locks: what the owner record says of this locker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A random id of the locker.
    pub client: String,
    pub host: String,
    pub pid: u32,
}
