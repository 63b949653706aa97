//! What a server's error means, read off its text. The texts are those of Redis 6.2 to 8 and of Valkey.

use lock_inc_core::error::{Cause, Refusal};
use redis::ServerError;

use crate::{config::Address, topology::slots::SLOTS};

/// Why the server refused, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    NoAuth,
    WrongPass,
    NoPerm,
    ReadOnly,
    NoReplicas,
    OutOfMemory,
    Loading,
    Busy,
    TryAgain,
    Misconf,
    Moved,
    ClusterDown,
    WrongType,
    BadDatabase,
    TooOld,
    Other,
}

impl RefusalKind {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 16] = [
        Self::NoAuth,
        Self::WrongPass,
        Self::NoPerm,
        Self::ReadOnly,
        Self::NoReplicas,
        Self::OutOfMemory,
        Self::Loading,
        Self::Busy,
        Self::TryAgain,
        Self::Misconf,
        Self::Moved,
        Self::ClusterDown,
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
            Self::ReadOnly => (
                "ERR_REDIS_READONLY",
                "This Redis is a read-only replica",
                "connect to the primary; after a failover, see to it that config leads to the new one",
            ),
            Self::NoReplicas => (
                "ERR_REDIS_NOREPLICAS",
                "Redis has fewer replicas than it is to have for writes",
                "see to its replicas, or lower its min-replicas-to-write",
            ),
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
            Self::TryAgain => (
                "ERR_REDIS_TRYAGAIN",
                "The cluster is moving the lock's slot from one node to another",
                "try again; if it goes on, that has stopped half way: see CLUSTER SETSLOT",
            ),
            Self::Misconf => (
                "ERR_REDIS_MISCONF",
                "Redis accepts no writes because it cannot save to disk",
                "look into the server's log",
            ),
            Self::Moved => (
                "ERR_REDIS_MOVED",
                "This Redis is a node of a cluster, and the lock is at another one",
                "set config.cluster to true",
            ),
            Self::ClusterDown => (
                "ERR_REDIS_CLUSTERDOWN",
                "The cluster does not serve the lock's slot",
                "CLUSTER INFO says why: a primary without a replica may be down, or most of the primaries",
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

    pub(crate) fn code(self) -> &'static str {
        self.row().0
    }

    pub(crate) fn refusal(self, cause: Cause, unanswered: bool) -> Refusal {
        let (code, summary, advice) = self.row();
        let message = match forbidden(&cause.message).filter(|_| self == Self::NoPerm) {
            Some(command) => format!("The Redis user may not run {}: {advice}", command.to_uppercase()),
            None => format!("{summary}: {advice}"),
        };
        let message = message.into();
        Refusal { code, message, is_passing: self.is_passing(), unanswered, cause }
    }

    /// Whether waiting a little may help.
    pub(crate) fn is_passing(self) -> bool {
        matches!(
            self,
            Self::Loading
                | Self::Busy
                | Self::ReadOnly
                | Self::NoReplicas
                | Self::TryAgain
                | Self::ClusterDown
        )
    }
}

/// Classifies an error reply by its first word, and where that only says `ERR`, by what follows.
fn classify(code: &str, detail: &str) -> RefusalKind {
    match code {
        "NOAUTH" => RefusalKind::NoAuth,
        "WRONGPASS" => RefusalKind::WrongPass,
        "NOPERM" => RefusalKind::NoPerm,
        // MASTERDOWN: a replica without a link to its primary that is told to serve no stale data.
        // UNBLOCKED: a primary that has become a replica.
        "READONLY" | "MASTERDOWN" | "UNBLOCKED" => RefusalKind::ReadOnly,
        "NOREPLICAS" => RefusalKind::NoReplicas,
        "OOM" => RefusalKind::OutOfMemory,
        "LOADING" => RefusalKind::Loading,
        "BUSY" => RefusalKind::Busy,
        "TRYAGAIN" => RefusalKind::TryAgain,
        "MISCONF" => RefusalKind::Misconf,
        "MOVED" | "ASK" | "CROSSSLOT" => RefusalKind::Moved,
        "CLUSTERDOWN" => RefusalKind::ClusterDown,
        "WRONGTYPE" => RefusalKind::WrongType,
        _ => classify_text(detail),
    }
}

/// Redis 6.2 wraps an error inside a script into `ERR Error running script (call to f_…): @user_script:9: …`, and
/// newer servers have a wording of their own for ACL and type errors.
fn classify_text(detail: &str) -> RefusalKind {
    const PATTERNS: [(&str, RefusalKind); 18] = [
        ("value is not an integer", RefusalKind::WrongType),
        ("WRONGTYPE", RefusalKind::WrongType),
        ("-OOM", RefusalKind::OutOfMemory),
        ("command not allowed when used memory", RefusalKind::OutOfMemory),
        ("-READONLY", RefusalKind::ReadOnly),
        ("You can't write against a read only", RefusalKind::ReadOnly),
        ("WAIT cannot be used with replica", RefusalKind::ReadOnly),
        ("-NOREPLICAS", RefusalKind::NoReplicas),
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

/// A node of a cluster says which other one is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirection {
    /// The slot is still its own, but is on the way to the other one, and so is the key.
    pub(crate) is_ask: bool,
    pub(crate) slot: u16,
    /// As the cluster names it. Without a host it is the one that has said it.
    pub(crate) to: Address,
}

impl Redirection {
    /// Reads `MOVED <slot> <host>:<port>`, and the same with `ASK`.
    pub(crate) fn parse(error: &ServerError) -> Option<Self> {
        let is_ask = match error.code() {
            "ASK" => true,
            "MOVED" => false,
            _ => return None,
        };
        let (slot, address) = error.details()?.split_once(' ')?;
        let (host, port) = address.rsplit_once(':')?;
        let host = if host == "?" { "" } else { host };
        let to = Address { host: host.to_owned(), port: port.parse().ok()? };
        Some(Self { is_ask, slot: slot.parse().ok().filter(|slot| *slot < SLOTS)?, to })
    }
}

/// Why the server has answered a command with an error.
pub(crate) fn kind_of(error: &ServerError) -> RefusalKind {
    classify(error.code(), error.details().unwrap_or_default())
}

/// An error reply to a command.
///
/// `unanswered`: whether the command had been sent before.
pub(crate) fn of_reply(error: &ServerError, unanswered: bool) -> Refusal {
    let (code, detail) = (error.code(), error.details().unwrap_or_default());
    kind_of(error).refusal(cause(code, detail), unanswered || is_half_done(code, detail))
}

/// Whether a script has come to what it may not do. What it had done before stays.
fn is_half_done(code: &str, detail: &str) -> bool {
    let is_inside = ["in script", "running script"].iter().any(|words| detail.contains(words));
    classify(code, detail) == RefusalKind::NoPerm && is_inside
}

/// The command that the user may not run, if the server says that.
pub(crate) fn forbidden_command(error: &ServerError) -> Option<String> {
    (kind_of(error) == RefusalKind::NoPerm)
        .then(|| forbidden(error.details().unwrap_or_default()).map(str::to_uppercase))
        .flatten()
}

fn forbidden(text: &str) -> Option<&str> {
    text.split_once("run the '")?.1.split_once('\'').map(|(command, _)| command)
}

/// What a server that does not know a command says of it, before it repeats the arguments: of `AUTH` and `HELLO` these are
/// secrets.
const ARGUMENTS: &str = ", with args beginning with";

fn cause(code: &str, detail: &str) -> Cause {
    let detail = detail.split_once(ARGUMENTS).map_or(detail, |(what, _)| what);
    Cause::new(code, format_args!("{code} {detail}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use redis::Value;

    use super::*;

    #[test]
    fn a_redirection_says_where_to_go() {
        let parse = |error: &str| match redis::parse_redis_value(format!("-{error}\r\n").as_bytes()) {
            Ok(Value::ServerError(error)) => Redirection::parse(&error),
            other => panic!("{other:?}"),
        };
        for (error, is_ask, slot, host, port) in [
            ("MOVED 3999 127.0.0.1:6381", false, 3999, "127.0.0.1", 6381),
            ("ASK 16383 a.example:7000", true, 16_383, "a.example", 7000),
            ("MOVED 0 ::1:6381", false, 0, "::1", 6381),
            ("MOVED 1 :6381", false, 1, "", 6381),
            ("MOVED 1 ?:6381", false, 1, "", 6381),
        ] {
            let to = Address { host: host.into(), port };
            assert_eq!(parse(error), Some(Redirection { is_ask, slot, to }), "{error}");
        }
        for error in
            ["MOVED", "MOVED 16384 a:1", "MOVED 1 a", "MOVED 1 a:99999", "ERR MOVED 1 a:1", "TRYAGAIN 1 a:1"]
        {
            assert_eq!(parse(error), None, "{error}");
        }
    }

    #[test]
    fn codes_are_distinct() {
        let codes: HashSet<_> = RefusalKind::ALL.iter().map(|kind| kind.row().0).collect();
        assert_eq!(codes.len(), RefusalKind::ALL.len());
    }

    #[test]
    fn a_password_that_the_server_repeats_is_not_told() {
        let detail = "unknown command 'AUTH', with args beginning with: 'app' 'hunter2' ";
        assert_eq!(&*cause("ERR", detail).message, "ERR unknown command 'AUTH'");
    }

    #[test]
    fn a_script_that_comes_to_what_is_forbidden_may_have_done_something() {
        let forbidden = |code, detail| {
            let refusal = classify(code, detail).refusal(cause(code, detail), is_half_done(code, detail));
            (refusal.unanswered, refusal.message.contains("may not run ZREM"))
        };
        let inside = "ACL failure in script: User app has no permissions to run the 'zrem' command";
        assert_eq!(forbidden("NOPERM", inside), (true, true));
        let inside = "Error running script (call to f_1): @user_script:4: @user_script: 4: The user executing the script \
                      can't run this command or subcommand";
        assert_eq!(forbidden("ERR", inside), (true, false));
        let outside = "User app has no permissions to run the 'zrem' command";
        assert_eq!(forbidden("NOPERM", outside), (false, true));
    }

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
            (
                "MASTERDOWN",
                "Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                RefusalKind::ReadOnly,
            ),
            (
                "ERR",
                "WAIT cannot be used with replica instances. Please also note that if a replica is configured to be \
                 writable (which is not the default) writes to replicas are just local and are not propagated.",
                RefusalKind::ReadOnly,
            ),
            (
                "UNBLOCKED",
                "force unblock from blocking operation, instance state changed (master -> replica?)",
                RefusalKind::ReadOnly,
            ),
            ("NOREPLICAS", "Not enough good replicas to write.", RefusalKind::NoReplicas),
            (
                "ERR",
                "Error running script (call to f_1): @user_script:1: @user_script: 1: -NOREPLICAS Not enough good \
                 replicas to write.",
                RefusalKind::NoReplicas,
            ),
            ("TRYAGAIN", "Multiple keys request during rehashing of slot", RefusalKind::TryAgain),
            ("ERR", "DB index is out of range", RefusalKind::BadDatabase),
            ("CROSSSLOT", "Keys in request don't hash to the same slot", RefusalKind::Moved),
            ("ERR", "something new", RefusalKind::Other),
        ] {
            assert_eq!(classify(code, detail), kind, "{code} {detail}");
        }
    }
}
