//! Locks in Redis. `docs/protocol.md` is the reference for what is sent.

use std::{collections::BTreeSet, future::ready, pin::Pin, sync::Arc, time::Duration};

use redis::{Cmd, Value, cmd, from_redis_value};

use self::{
    connection::{Connection, Reply},
    keys::Keys,
    scripts::{ACQUIRE, LuaScript, RELEASE},
};
use super::{Acquired, Answer, Attempt, Deadline, Driver, Grant, Released};
use crate::{
    core::{Contention, Nonce, OwnerRecord, Resource},
    error::{Cause, Error, Refusal, RefusalKind, Result},
    options::Identity,
};

pub mod config;
mod connect;
mod connection;
mod keys;
mod refusal;
mod scripts;
pub mod tls;
pub mod url;

/// Keys that one `SCAN` of a purge looks at.
const PURGE_PAGE: usize = 1000;

/// A locker's locks in one Redis, under one prefix.
pub struct Redis {
    connection: Connection,
    keys: Keys,
    identity: Identity,
}

impl Redis {
    /// Starts to connect. Must be called on the runtime.
    pub fn open(config: config::Config, prefix: &str, identity: Identity) -> Self {
        let keys = Keys::new([&config.key_prefix, prefix].concat());
        let connection = Connection::open(Arc::new(config), format!("lock-inc:{}", identity.client));
        Self { connection, keys, identity }
    }

    async fn run(
        &self,
        script: &LuaScript,
        keys: usize,
        fill: impl Fn(&mut Cmd) + Sync,
        deadline: Deadline,
    ) -> Result<Reply> {
        let source = || script.by_source(keys, &fill);
        self.connection.call(script.by_sha(keys, &fill), Some(&source), deadline).await
    }

    async fn acquire(&self, attempt: &Attempt, deadline: Deadline) -> Result<Acquired> {
        let Identity { client, pid, host } = &self.identity;
        let record = OwnerRecord::client_part(client, *pid, host, attempt.resource.name());
        let (lock, owner) = (self.keys.lock(&attempt.resource), self.keys.owner(&attempt.resource));
        let nonce = attempt.nonce.to_string();
        let lease = u64::try_from(attempt.lease.as_millis()).unwrap_or(u64::MAX);
        let fill = |command: &mut Cmd| {
            command.arg(&lock).arg(&owner).arg(self.keys.fence()).arg(&nonce).arg(lease).arg(&record);
        };
        let Reply { value, sent, .. } = self.run(&ACQUIRE, 3, fill, deadline).await?;
        if let Value::Int(token) = value {
            return Ok(Acquired::Granted(Grant { token: token.unsigned_abs(), sent }));
        }
        let (count, left, record): (u64, i64, String) = decode(value)?;
        Ok(Acquired::Contended(Contention {
            count,
            holder: OwnerRecord::parse(&record),
            lease_left: Duration::from_millis(u64::try_from(left).unwrap_or(0)),
        }))
    }

    async fn release(&self, resource: &Resource, nonce: Nonce, deadline: Deadline) -> Result<Released> {
        let (lock, owner, nonce) = (self.keys.lock(resource), self.keys.owner(resource), nonce.to_string());
        let fill = |command: &mut Cmd| {
            command.arg(&lock).arg(&owner).arg(&nonce);
        };
        let reply = self.run(&RELEASE, 2, fill, deadline).await?;
        Ok(match decode(reply.value)? {
            true => Released::Yes,
            false if reply.resent => Released::NotAnyMore,
            false => Released::No,
        })
    }

    async fn purge(&self, patience: Duration) -> Result<()> {
        let pattern = self.keys.pattern();
        let mut cursor = 0u64;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PURGE_PAGE);
            let reply = self.connection.call(scan, None, Deadline::after(patience)).await?;
            let (next, page): (u64, Vec<Vec<u8>>) = decode(reply.value)?;
            // A lock and its owner record go in one step, whichever of them the page has.
            let keys: BTreeSet<_> = page.iter().filter_map(|key| self.keys.of_lock(key)).flatten().collect();
            if !keys.is_empty() {
                let mut del = cmd("DEL");
                for key in &keys {
                    del.arg(key);
                }
                self.connection.call(del, None, Deadline::after(patience)).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

impl Driver for Redis {
    fn acquire<'a>(&'a self, attempt: &'a Attempt, deadline: Deadline) -> Answer<'a, Acquired> {
        Box::pin(self.acquire(attempt, deadline))
    }

    fn release<'a>(
        &'a self,
        resource: &'a Resource,
        nonce: Nonce,
        deadline: Deadline,
    ) -> Answer<'a, Released> {
        Box::pin(self.release(resource, nonce, deadline))
    }

    fn is_locked<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, bool> {
        Box::pin(async move {
            let mut exists = cmd("EXISTS");
            exists.arg(self.keys.lock(resource));
            decode(self.connection.call(exists, None, deadline).await?.value)
        })
    }

    fn purge(&self, patience: Duration) -> Answer<'_, ()> {
        Box::pin(self.purge(patience))
    }

    fn begin_close(&self) {
        self.connection.begin_close();
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.connection.close();
        Box::pin(ready(()))
    }
}

/// A reply as the type that the command is known to answer with.
fn decode<T: redis::FromRedisValue>(value: Value) -> Result<T> {
    from_redis_value(value).map_err(|error| {
        let cause = Cause::new("EPROTO", error);
        Error::Refused(Refusal { kind: RefusalKind::Other, cause, unanswered: false })
    })
}
