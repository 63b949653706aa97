//! What is asked of the server: the commands that leave, and what their replies say. `docs/protocol.md` is the reference.
//!
//! Most run a script, which is in the Lua file of the same name; what scripts share is in `shared/`. The commonest case of
//! `acquire` and `release` is that of `take` and `give`, which many calls of one turn have in common. `purge` removes lock
//! after lock, by `remove`. `is_locked`, which is in `inspect`, and those of `clients` are plain commands. `permissions` is
//! asked once for each connection.

use std::{fmt, time::Duration};

use lock_inc_core::{
    Contention, Holder, Nonce, Resource,
    error::{Cause, Error, Result},
    record,
    store::{Deadline, HandOver},
};
use redis::{Cmd, FromRedisValue, Value, from_redis_value};

use crate::{
    Redis,
    keys::LockKeys,
    link::{Command, Reply},
    refusal::RefusalKind,
    script::LuaScript,
};

mod acquire;
mod clients;
mod give;
mod inspect;
pub(crate) mod permissions;
mod poll;
mod purge;
mod release;
mod remove;
mod renew;
pub(crate) mod take;

impl Redis {
    /// Runs a script. `fill` adds the keys, of which there are so many, and the arguments.
    #[expect(clippy::manual_async_fn, reason = "an async function would keep room for its arguments twice")]
    fn run<'a>(
        &'a self,
        script: &'a LuaScript,
        keys: usize,
        fill: impl Fn(&mut Cmd) + Send + Sync + 'a,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Reply>> + 'a {
        async move {
            let command = Command::Script(script, keys, &fill);
            self.link.call(&self.member, command, deadline).await
        }
    }

    /// Runs a script that may hand a lock over.
    fn run_with_queue<'a>(
        &'a self,
        script: &'a LuaScript,
        keys: &'a LockKeys<'_>,
        arguments: impl Fn(&mut Cmd) + Send + Sync + 'a,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Reply>> + 'a {
        let fill = move |command: &mut Cmd| {
            command.arg(keys.lock()).arg(keys.clients()).arg(keys.fence).arg(keys.queue());
            arguments(command);
        };
        self.run(script, 4, fill, deadline)
    }

    /// Runs a command that is no script.
    async fn call(&self, fill: impl Fn(&mut Cmd) + Send + Sync, deadline: Deadline) -> Result<Value> {
        let command = Command::Plain(&fill);
        Ok(self.link.call(&self.member, command, deadline).await?.value)
    }

    /// As the scripts have it, and true of the connection that the command is about to be sent on.
    fn subscribed(&self) -> &'static str {
        if self.member.is_subscribed() { "1" } else { "0" }
    }

    /// What stands for a waiting call in the queue.
    fn queue_member(&self, resource: &Resource, nonce: Nonce, lease: Duration) -> String {
        format!("{nonce} {} {}", lease.as_millis(), self.record(resource))
    }

    fn record(&self, resource: &Resource) -> String {
        record(&self.description, resource.name())
    }
}

/// What a script says of a lock that somebody holds. `place`: 0 is none.
fn contention(count: u64, left: i64, record: &str, place: u64) -> Contention {
    let lease_left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    Contention { count, holder: Holder::parse(record), lease_left, place: (place > 0).then_some(place) }
}

/// What the key of a lock holds that was taken while nobody waited, and that nobody has come for since.
fn untouched(nonce: Nonce) -> u64 {
    nonce.number() * 1_000_000 + 1
}

/// As scripts have it.
fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `{nonce, token, lease in ms}`
fn hand_over(value: Value) -> Result<HandOver> {
    let (nonce, token, lease): (String, u64, u64) = decode(value)?;
    let nonce = nonce.parse().map_err(|_| unintelligible("not a nonce"))?;
    Ok(HandOver { nonce, token, lease: Duration::from_millis(lease) })
}

/// A reply as the type that the command is known to answer with.
fn decode<T: FromRedisValue>(value: Value) -> Result<T> {
    from_redis_value(value).map_err(unintelligible)
}

fn unintelligible(error: impl fmt::Display) -> Error {
    Error::Refused(RefusalKind::Other.refusal(Cause::new("EPROTO", error), false))
}
