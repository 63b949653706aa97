//! Everything that a call can be rejected with. Each variant says which JavaScript class it becomes; the codes
//! are part of the interface and do not change.

use std::{fmt, sync::Arc, time::Duration};

use crate::{contention::Contention, resource::Resource};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else holds the resource. Becomes `ResourceLockedError`; the text is that of lock-inc 1.2.0.
    #[error("Resource locked")]
    Locked(Box<Contention>),

    /// No answer within the deadline, or no hope of one. Becomes `ConnectionError`.
    #[error(transparent)]
    Unavailable(Unavailable),

    /// The store answered with an error. Becomes `RedisError`.
    #[error(transparent)]
    Refused(Refusal),

    /// Too few replicas had the lock in time. It was given back. Becomes `ReplicationError`.
    #[error(transparent)]
    Unreplicated(Box<Unreplicated>),

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
            Self::Unavailable(_) => "ERR_CONNECTION",
            Self::Refused(refusal) => refusal.code,
            Self::Unreplicated(_) => "ERR_REPLICATION",
            Self::Closed => "ERR_CLOSED",
            Self::Cancelled => "ERR_CANCELLED",
            Self::Internal => "ERR_INTERNAL",
        }
    }

    /// What the error goes back to, where something below has said so.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Unavailable(unavailable) => unavailable.cause.as_ref(),
            Self::Refused(refusal) => Some(&refusal.cause),
            Self::Unreplicated(unreplicated) => unreplicated.cause.as_ref(),
            Self::Locked(_) | Self::Closed | Self::Cancelled | Self::Internal => None,
        }
    }

    /// Whether waiting is of no use: what stands in the way will not pass by itself.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Locked(_) => false,
            Self::Unavailable(unavailable) => unavailable.is_final,
            Self::Refused(refusal) => !refusal.is_passing,
            Self::Unreplicated(_) | Self::Closed | Self::Cancelled | Self::Internal => true,
        }
    }

    /// The same error, where something had left for the store before.
    #[must_use]
    pub fn after_sending(mut self) -> Self {
        match &mut self {
            Self::Unavailable(unavailable) => unavailable.sent = true,
            Self::Refused(refusal) => refusal.unanswered = true,
            Self::Locked(_) | Self::Unreplicated(_) | Self::Closed | Self::Cancelled | Self::Internal => {}
        }
        self
    }

    /// Whether the command may have been carried out although no answer came.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Unavailable(unavailable) => unavailable.sent,
            Self::Refused(refusal) => refusal.unanswered,
            // What was granted is given back already.
            Self::Locked(_) | Self::Unreplicated(_) | Self::Closed | Self::Cancelled | Self::Internal => {
                false
            }
        }
    }
}

/// A store that did not serve a call, or cannot serve any at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unavailable {
    /// What happened and which option is about it, in the store's words. Never holds credentials.
    pub message: Arc<str>,
    /// Whether it will not pass by itself.
    pub is_final: bool,
    /// Whether the command had left for the store.
    pub sent: bool,
    pub cause: Option<Cause>,
}

/// A lock that too few replicas had in time.
#[derive(Clone, Debug)]
pub struct Unreplicated {
    /// Of several that were to be had together: the first one that it is true of.
    pub resource: Resource,
    pub wanted: u32,
    /// How many had it, as far as is known.
    pub confirmed: u32,
    pub limit: Limit,
    pub cause: Option<Cause>,
}

impl std::error::Error for Unreplicated {}

impl fmt::Display for Unreplicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, confirmed, limit, .. } = self;
        let replicas = if *wanted == 1 { "replica" } else { "replicas" };
        write!(f, "The lock was given back: {confirmed} of {wanted} {replicas} had it ")?;
        write!(f, "within {} ms", limit.time.as_millis())?;
        if let Some(cause) = &self.cause {
            write!(f, " ({})", cause.message)?;
        }
        write!(f, "; {} is the limit, and settings.replicas the number", limit.option)
    }
}

/// How long a call may take, and which option says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub time: Duration,
    pub option: &'static str,
}

/// An error from below: of the operating system, of TLS, or the store's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Cause {
    /// The name that Node gives such an error (`ECONNREFUSED`), or the first word of the store's reply.
    pub code: Arc<str>,
    pub message: Arc<str>,
}

impl Cause {
    pub fn new(code: &str, message: impl fmt::Display) -> Self {
        Self { code: code.into(), message: message.to_string().into() }
    }
}

/// A command that the store refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Stable: it becomes the `code` of the JavaScript error.
    pub code: &'static str,
    /// What happened and what to do, in the store's words.
    pub message: Arc<str>,
    /// Whether waiting a little may help.
    pub is_passing: bool,
    /// Whether the command had been sent before and got no answer: then it may have been carried out.
    pub unanswered: bool,
    /// What the store itself has said.
    pub cause: Cause,
}
