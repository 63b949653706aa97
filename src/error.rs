//! Everything that a call can be rejected with. Each variant says which JavaScript class it becomes; the codes
//! are part of the interface and do not change.

use std::{fmt, io, sync::Arc, time::Duration};

use crate::core::Contention;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else holds the resource. Becomes `ResourceLockedError`; the text is that of lock-inc 1.2.0.
    #[error("Resource locked")]
    Locked(Box<Contention>),

    /// No answer within the deadline, or no hope of one. Becomes `ConnectionError`.
    #[error("{0}")]
    Connection(Unreachable),

    /// The server answered with an error. Becomes `RedisError`.
    #[error("{}: {}", .0.kind.summary(), .0.kind.advice())]
    Refused(Refusal),

    /// The locker was closed. Becomes `ClosedError`.
    #[error("The locker is closed; make a new one with lockFactory()")]
    Closed,

    /// The caller does not want it any more. Becomes the reason of the caller's `AbortSignal`.
    #[error("The call was cancelled")]
    Cancelled,

    /// A bug. Becomes `LockError`.
    #[error("lock-inc has failed; what it said on stderr helps to find out why")]
    Internal,
}

impl Error {
    /// The stable `code` of the JavaScript error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked(_) => "ERR_RESOURCE_LOCKED",
            Self::Connection(_) => "ERR_CONNECTION",
            Self::Refused(refusal) => refusal.kind.code(),
            Self::Closed => "ERR_CLOSED",
            Self::Cancelled => "ERR_CANCELLED",
            Self::Internal => "ERR_INTERNAL",
        }
    }

    /// What the error goes back to, where something below has said so.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Connection(unreachable) => unreachable.cause.as_ref(),
            Self::Refused(refusal) => Some(&refusal.cause),
            Self::Locked(_) | Self::Closed | Self::Cancelled | Self::Internal => None,
        }
    }

    /// Whether waiting is of no use: what stands in the way will not pass by itself.
    pub fn is_final(&self) -> bool {
        use UnreachableReason::{GaveUp, Tls};
        match self {
            Self::Locked(_) => false,
            Self::Connection(unreachable) => matches!(unreachable.reason, GaveUp | Tls),
            Self::Refused(refusal) => !refusal.kind.is_passing(),
            Self::Closed | Self::Cancelled | Self::Internal => true,
        }
    }

    /// Whether the command may have been carried out although no answer came.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Connection(unreachable) => unreachable.sent,
            Self::Refused(refusal) => refusal.unanswered,
            Self::Locked(_) | Self::Closed | Self::Cancelled | Self::Internal => false,
        }
    }
}

/// A connection that did not serve a call.
#[derive(Clone, Debug)]
pub struct Unreachable {
    /// Where the server should be: `host:port` or a socket's path. Never holds credentials.
    pub endpoint: Arc<str>,
    pub reason: UnreachableReason,
    /// Whether the command had left for the server.
    pub sent: bool,
    pub cause: Option<Cause>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreachableReason {
    /// The call's deadline passed.
    Deadline(Limit),
    /// Reconnecting was given up for good, as `max_attempts`, `connect_timeout` or `retry_strategy` asked for.
    GaveUp,
    /// Client and server found no TLS session that both accept.
    Tls,
    /// There is no connection now, and `enable_offline_queue` is off.
    Offline,
}

/// How long a call may take, and which option says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub time: Duration,
    pub option: &'static str,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.endpoint;
        match self.reason {
            UnreachableReason::Deadline(limit) if self.sent => {
                write!(f, "Redis at {endpoint} did not answer within {} ms", limit.time.as_millis())?;
            }
            UnreachableReason::Deadline(limit) => {
                write!(f, "Redis at {endpoint} could not be reached within {} ms", limit.time.as_millis())?;
            }
            UnreachableReason::GaveUp => {
                write!(f, "Reconnecting to Redis at {endpoint} was given up, as config asks for")?;
            }
            UnreachableReason::Tls => {
                write!(f, "TLS with Redis at {endpoint} failed; check config.tls")?;
            }
            UnreachableReason::Offline => {
                write!(f, "No connection to Redis at {endpoint}, and config.enable_offline_queue is off")?;
            }
        }
        if let Some(cause) = &self.cause {
            write!(f, " ({})", cause.message)?;
        }
        if let UnreachableReason::Deadline(limit) = self.reason {
            write!(f, "; {} is the limit", limit.option)?;
        }
        Ok(())
    }
}

/// An error from below: of the operating system, of TLS, or the server's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The name that Node gives such an error (`ECONNREFUSED`), or the first word of the server's reply.
    pub code: Arc<str>,
    pub message: Arc<str>,
}

impl Cause {
    pub fn new(code: &str, message: impl fmt::Display) -> Self {
        Self { code: code.into(), message: message.to_string().into() }
    }
}

impl From<&io::Error> for Cause {
    fn from(error: &io::Error) -> Self {
        use io::ErrorKind;
        let code = match error.kind() {
            ErrorKind::ConnectionRefused => "ECONNREFUSED",
            ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => "ECONNRESET",
            ErrorKind::ConnectionAborted => "ECONNABORTED",
            ErrorKind::BrokenPipe => "EPIPE",
            ErrorKind::TimedOut => "ETIMEDOUT",
            ErrorKind::NotFound => "ENOENT",
            ErrorKind::PermissionDenied => "EACCES",
            ErrorKind::HostUnreachable => "EHOSTUNREACH",
            ErrorKind::NetworkUnreachable => "ENETUNREACH",
            ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
            _ => "EIO",
        };
        Self::new(code, error)
    }
}

/// A command that the server refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// The server's own words.
    pub cause: Cause,
    /// Whether the command had been sent before and got no answer: then it may have been carried out.
    pub unanswered: bool,
}

/// Why the server refused, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    NoAuth,
    WrongPass,
    NoPerm,
    ReadOnly,
    OutOfMemory,
    Loading,
    Busy,
    Misconf,
    Moved,
    WrongType,
    BadDatabase,
    TooOld,
    Other,
}

impl RefusalKind {
    /// Every kind, for the tests and for the table in the docs.
    pub const ALL: [Self; 13] = [
        Self::NoAuth,
        Self::WrongPass,
        Self::NoPerm,
        Self::ReadOnly,
        Self::OutOfMemory,
        Self::Loading,
        Self::Busy,
        Self::Misconf,
        Self::Moved,
        Self::WrongType,
        Self::BadDatabase,
        Self::TooOld,
        Self::Other,
    ];

    /// The stable code, what happened, and what to do, in one place.
    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::NoAuth => ("ERR_REDIS_NOAUTH", "Redis wants a password", "set config.password"),
            Self::WrongPass => (
                "ERR_REDIS_WRONGPASS",
                "Redis does not accept the credentials",
                "check config.username and config.password",
            ),
            Self::NoPerm => (
                "ERR_REDIS_NOPERM",
                "The Redis user may not do this",
                "docs/protocol.md lists the commands and keys that its ACL must allow",
            ),
            Self::ReadOnly => {
                ("ERR_REDIS_READONLY", "This Redis is a read-only replica", "connect to the primary")
            }
            Self::OutOfMemory => (
                "ERR_REDIS_OOM",
                "Redis has reached its maxmemory",
                "free memory or raise maxmemory; the policy should be noeviction, as any other may evict locks",
            ),
            Self::Loading => (
                "ERR_REDIS_LOADING",
                "Redis is still loading its data set",
                "try again, or raise settings.commandTimeout",
            ),
            Self::Busy => (
                "ERR_REDIS_BUSY",
                "Redis is busy with a script of another client",
                "try again, or end that script with SCRIPT KILL",
            ),
            Self::Misconf => (
                "ERR_REDIS_MISCONF",
                "Redis accepts no writes because it cannot save to disk",
                "look into the server's log",
            ),
            Self::Moved => (
                "ERR_REDIS_MOVED",
                "This Redis is a node of a cluster and does not serve the lock's slot",
                "Redis Cluster is not supported: connect to a standalone server or a primary",
            ),
            Self::WrongType => (
                "ERR_REDIS_WRONGTYPE",
                "A key of the lock holds something else than a lock",
                "another program uses the same key: choose another settings.prefix",
            ),
            Self::BadDatabase => (
                "ERR_REDIS_DB",
                "Redis has no such database",
                "check config.db against the server's `databases` setting",
            ),
            Self::TooOld => (
                "ERR_REDIS_VERSION",
                "The server does not know a command that is needed",
                "Redis 6.2 or newer, or Valkey, is required",
            ),
            Self::Other => {
                ("ERR_REDIS_REPLY", "Redis answered with an error", "error.cause has the server's words")
            }
        }
    }

    pub fn code(self) -> &'static str {
        self.row().0
    }

    pub fn summary(self) -> &'static str {
        self.row().1
    }

    pub fn advice(self) -> &'static str {
        self.row().2
    }

    /// Whether waiting a little may help.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Loading | Self::Busy)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_distinct() {
        let codes: HashSet<_> = RefusalKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), RefusalKind::ALL.len());
    }
}
