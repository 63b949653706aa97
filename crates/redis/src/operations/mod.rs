//! What is asked of the server: the commands that leave, and what their replies say. `docs/protocol.md` is the reference.
//!
//! Most run a script, which is in the Lua file of the same name; what scripts share is in `shared/`. The commonest case of
//! `acquire` and `release` is that of `take` and `give`, which many calls of one turn have in common; those that are left
//! of a turn are one call for each lock, see `of_one_lock`. `purge` removes lock after lock, by `remove`. `is_locked`, which
//! is in `inspect`, and those of `clients` are plain commands. `permissions` is asked once for each connection.

use std::{fmt, time::Duration};

use lock_inc_core::{
    Contention, Holder, Nonce, Resource, Terms,
    error::{Cause, Error, Result},
    record,
    store::{Deadline, HandOver},
};
use redis::{Cmd, FromRedisValue, Value, from_redis_value};

use crate::{
    Redis,
    keys::LockKeys,
    link::{Command, Member},
    refusal::RefusalKind,
    script::LuaScript,
    topology::{Place, call::Reply},
};

mod acquire;
mod acquire_all;
mod clients;
mod confirm;
mod give;
mod inspect;
mod list;
mod of_one_lock;
pub(crate) mod permissions;
mod poll;
mod purge;
mod release;
mod remove;
mod renew;
mod steal;
pub(crate) mod take;

impl Redis {
    /// Runs a script where this key is. `fill` adds the keys, of which there are so many, and the arguments.
    fn run<'a, F: Fn(&mut Cmd, &Member) + Send + Sync + 'a>(
        &'a self,
        key: &str,
        script: &'a LuaScript,
        keys: usize,
        fill: F,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Reply>> + use<'a, F> {
        let place = self.seats.place_of(key);
        async move {
            let command = Command::Script(script, keys, &fill);
            self.seats.call(&place, command, deadline).await
        }
    }

    /// Runs a script that may hand a lock over.
    fn run_with_queue<'a>(
        &'a self,
        script: &'a LuaScript,
        keys: &'a LockKeys<'_>,
        arguments: impl Fn(&mut Cmd, &Member) + Send + Sync + 'a,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Reply>> + 'a {
        let fill = move |command: &mut Cmd, member: &Member| {
            command
                .arg(keys.lock())
                .arg(keys.clients())
                .arg(keys.holders())
                .arg(keys.queue())
                .arg(keys.fence());
            arguments(command, member);
        };
        self.run(keys.lock(), script, 5, fill, deadline)
    }

    /// Runs a command that is no script, where this key is.
    async fn call(
        &self,
        key: &str,
        fill: impl Fn(&mut Cmd) + Send + Sync,
        deadline: Deadline,
    ) -> Result<Value> {
        self.call_at(&self.seats.place_of(key), fill, deadline).await
    }

    async fn call_at(
        &self,
        place: &Place,
        fill: impl Fn(&mut Cmd) + Send + Sync,
        deadline: Deadline,
    ) -> Result<Value> {
        let fill = |command: &mut Cmd, _: &Member| fill(command);
        Ok(self.seats.call(place, Command::Plain(&fill), deadline).await?.value)
    }

    /// What stands for a waiting call in the queue.
    fn queue_member(&self, resource: &Resource, nonce: Nonce, terms: Terms) -> String {
        let (lease, record) = (terms.lease.as_millis(), self.record(resource));
        match terms.mode.limit() {
            0 => format!("{nonce} {lease} {record}"),
            limit => format!("{nonce} {lease}/{limit} {record}"),
        }
    }

    fn record(&self, resource: &Resource) -> String {
        record(&self.description, resource.name())
    }
}

/// Whether messages reach it, as scripts have it, and true of the connection that a command is about to be sent on.
fn subscribed(member: &Member) -> &'static str {
    if member.is_subscribed() { "1" } else { "0" }
}

/// What a script says of a lock that somebody holds. `place`: 0 is none.
fn contention(count: u64, left: i64, record: &str, place: u64) -> Contention {
    let lease_left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    let place = (place > 0).then_some(place);
    Contention { count, holder: Holder::parse(record), lease_left, resource: None, place }
}

/// What the key of a lock holds that was taken while nobody waited, and that nobody has come for since.
fn untouched(nonce: Nonce) -> u64 {
    nonce.number() * 1_000_000 + 1
}

/// Digits of a word, and what that of a shared lock with several holders begins with: see `shared/word.lua`.
const WORD: usize = 19;
const GROUP: &str = "9200";

/// As scripts have it.
fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Nonce, token and lease in ms of each, one behind the other.
fn hand_overs(value: Value) -> Result<Vec<HandOver>> {
    let grants: Vec<(String, u64, u64)> = decode(value)?;
    let hand_over = |(nonce, token, lease): (String, u64, u64)| {
        let nonce = nonce.parse().map_err(|_| unintelligible("not a nonce"))?;
        Ok(HandOver { nonce, token, lease: Duration::from_millis(lease) })
    };
    grants.into_iter().map(hand_over).collect()
}

/// A reply as the type that the command is known to answer with.
fn decode<T: FromRedisValue>(value: Value) -> Result<T> {
    from_redis_value(value).map_err(unintelligible)
}

fn unintelligible(error: impl fmt::Display) -> Error {
    Error::Refused(RefusalKind::Other.refusal(Cause::new("EPROTO", error), false))
}

#[cfg(test)]
mod tests {
    use lock_inc_core::{Mode, Nonces};

    use super::*;

    #[test]
    fn several_grants_are_read_from_one_list_and_none_from_an_empty_one() {
        let nonces = Nonces::new(7);
        let granted = [(1_700_000_000_000_001, 5000), (1_700_000_000_000_002, 300)].map(|(token, ms)| {
            let nonce = nonces.next(Mode::shared(0), |_| false);
            HandOver { nonce, token, lease: Duration::from_millis(ms) }
        });
        let int = |number: u64| Value::Int(number.try_into().unwrap());
        let fields = |granted: &HandOver| {
            let nonce = Value::BulkString(granted.nonce.to_string().into());
            [nonce, int(granted.token), int(in_ms(granted.lease))]
        };
        let list = |granted: &[HandOver]| Value::Array(granted.iter().flat_map(fields).collect());
        assert_eq!(hand_overs(list(&granted)).unwrap(), granted);
        assert_eq!(hand_overs(list(&granted[..1])).unwrap(), granted[..1]);
        assert_eq!(hand_overs(list(&[])).unwrap(), []);
        let nonsense = ["x", GROUP].map(|nonce| Value::BulkString(nonce.into()));
        for nonce in nonsense {
            assert!(hand_overs(Value::Array(vec![nonce, int(1), int(1)])).is_err());
        }
    }

    #[test]
    fn a_word_is_a_nonce_and_a_count_and_that_of_a_group_begins_with_no_nonce() {
        let nonce = Nonces::new(7).next(Mode::Exclusive, |_| false);
        assert_eq!(untouched(nonce).to_string(), format!("{nonce}000001"));
        assert_eq!(untouched(nonce).to_string().len(), WORD);
        let group = format!("{GROUP}{}", "0".repeat(Nonce::LEN - GROUP.len()));
        assert!(group.parse::<Nonce>().is_err());
        assert!((group.parse::<u64>().unwrap() - 1).to_string().parse::<Nonce>().is_ok(), "the largest one");
        let shared = include_str!("shared/word.lua");
        assert!(shared.contains(&format!("GROUP = '{group}'")));
    }
}
