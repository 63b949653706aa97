//! What a server's error means, read off its text. The texts are those of Redis 6.2 to 8 and of Valkey.

use std::io;

use redis::{ErrorKind, RedisError, ServerError};

use crate::error::{Cause, Refusal, RefusalKind};

/// Why there is no connection.
#[derive(Clone, Debug)]
pub enum ConnectError {
    /// The network, the server or its load: it may come.
    Passing(Cause),
    /// TLS did not come to an agreement.
    Tls(Cause),
    /// The server does not want us as we are.
    Refused(Refusal),
}

impl ConnectError {
    pub fn cause(&self) -> &Cause {
        match self {
            Self::Passing(cause) | Self::Tls(cause) => cause,
            Self::Refused(refusal) => &refusal.cause,
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Passing(Cause::from(&error))
    }
}

/// Classifies an error reply by its first word, and where that only says `ERR`, by what follows.
pub fn classify(code: &str, detail: &str) -> RefusalKind {
    match code {
        "NOAUTH" => RefusalKind::NoAuth,
        "WRONGPASS" => RefusalKind::WrongPass,
        "NOPERM" => RefusalKind::NoPerm,
        "READONLY" => RefusalKind::ReadOnly,
        "OOM" => RefusalKind::OutOfMemory,
        "LOADING" => RefusalKind::Loading,
        "BUSY" => RefusalKind::Busy,
        "MISCONF" => RefusalKind::Misconf,
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => RefusalKind::Moved,
        "WRONGTYPE" => RefusalKind::WrongType,
        _ => classify_text(detail),
    }
}

/// Redis 6.2 wraps an error inside a script into `ERR Error running script (call to f_…): @user_script:9: …`, and
/// newer servers have a wording of their own for ACL and type errors.
fn classify_text(detail: &str) -> RefusalKind {
    const PATTERNS: [(&str, RefusalKind); 16] = [
        ("value is not an integer", RefusalKind::WrongType),
        ("WRONGTYPE", RefusalKind::WrongType),
        ("-OOM", RefusalKind::OutOfMemory),
        ("command not allowed when used memory", RefusalKind::OutOfMemory),
        ("-READONLY", RefusalKind::ReadOnly),
        ("You can't write against a read only", RefusalKind::ReadOnly),
        ("-MISCONF", RefusalKind::Misconf),
        ("-LOADING", RefusalKind::Loading),
        ("ACL failure in script", RefusalKind::NoPerm),
        ("no permissions to", RefusalKind::NoPerm),
        ("can't run this command or subcommand", RefusalKind::NoPerm),
        ("can't access at least one of the keys", RefusalKind::NoPerm),
        ("-NOPERM", RefusalKind::NoPerm),
        ("DB index is out of range", RefusalKind::BadDatabase),
        ("SELECT is not allowed in cluster mode", RefusalKind::BadDatabase),
        ("unknown command", RefusalKind::TooOld),
    ];
    PATTERNS
        .iter()
        .find(|(pattern, _)| detail.contains(pattern))
        .map_or(RefusalKind::Other, |(_, kind)| *kind)
}

/// An error reply to a command.
///
/// `unanswered`: whether the command had been sent before.
pub fn of_reply(error: &ServerError, unanswered: bool) -> Refusal {
    let detail = error.details().unwrap_or_default();
    Refusal { kind: classify(error.code(), detail), cause: cause(error.code(), detail), unanswered }
}

/// An error while a connection was set up.
pub fn of_handshake(error: &RedisError) -> ConnectError {
    let code = match (error.code(), error.kind()) {
        (Some(code), _) => code,
        (None, ErrorKind::AuthenticationFailed) => "WRONGPASS",
        (None, ErrorKind::RESP3NotSupported) => "ERR unknown command",
        (None, _) => return ConnectError::Passing(broken(error)),
    };
    let detail = error.detail().unwrap_or_default();
    match classify(code, detail) {
        // Too many clients, loading and the like: the next try may do better.
        RefusalKind::Other | RefusalKind::Loading | RefusalKind::Busy => {
            ConnectError::Passing(cause(code, detail))
        }
        kind => ConnectError::Refused(Refusal { kind, cause: cause(code, detail), unanswered: false }),
    }
}

/// A connection that broke under a command.
pub fn broken(error: &RedisError) -> Cause {
    let code = if error.is_timeout() {
        "ETIMEDOUT"
    } else if error.is_connection_refusal() {
        "ECONNREFUSED"
    } else if error.is_connection_dropped() {
        "ECONNRESET"
    } else {
        "EPROTO"
    };
    Cause::new(code, error)
}

fn cause(code: &str, detail: &str) -> Cause {
    Cause::new(code, format_args!("{code} {detail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_recognised_in_the_words_of_each_server() {
        for (code, detail, kind) in [
            ("OOM", "command not allowed when used memory > 'maxmemory'.", RefusalKind::OutOfMemory),
            (
                "ERR",
                "Error running script (call to f_1): @user_script:9: @user_script: 9: -OOM command not allowed \
                 when used memory > 'maxmemory'.",
                RefusalKind::OutOfMemory,
            ),
            ("READONLY", "You can't write against a read only replica.", RefusalKind::ReadOnly),
            (
                "ERR",
                "Error running script (call to f_1): @user_script:9: @user_script: 9: -READONLY You can't write \
                 against a read only replica.",
                RefusalKind::ReadOnly,
            ),
            (
                "ERR",
                "ACL failure in script: User app has no permissions to run the 'set' command",
                RefusalKind::NoPerm,
            ),
            (
                "ERR",
                "value is not an integer or out of range script: 1, on @user_script:7.",
                RefusalKind::WrongType,
            ),
            ("ERR", "DB index is out of range", RefusalKind::BadDatabase),
            ("CROSSSLOT", "Keys in request don't hash to the same slot", RefusalKind::Moved),
            ("ERR", "something new", RefusalKind::Other),
        ] {
            assert_eq!(classify(code, detail), kind, "{code} {detail}");
        }
    }
}
