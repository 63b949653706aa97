//! Locks in Redis. `docs/protocol.md` is the reference for what is sent.

use std::{collections::BTreeSet, future::ready, pin::Pin, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use redis::{Cmd, Value, cmd, from_redis_value};

use self::{
    connect::Session,
    connection::{Connection, Reply},
    keys::Keys,
    scripts::{ACQUIRE, INSPECT, LuaScript, RELEASE, REMOVE, RENEW},
};
use super::{Acquired, Answer, Attempt, Deadline, Driver, Grant, Notices, Released, Renewed, Renewing};
use crate::{
    core::{Contention, Nonce, OwnerRecord, Resource, Standing},
    error::{Cause, Error, Limit, Refusal, RefusalKind, Result},
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
    pub fn open(config: config::Config, prefix: &str, identity: Identity, notices: Notices) -> Self {
        let keys = Keys::new([&config.key_prefix, prefix].concat());
        let session = Session {
            name: format!("lock-inc:{}", identity.client),
            channel: [keys.channels(), &identity.client].concat(),
            prefix: keys.prefix().to_owned(),
            notices,
        };
        let connection = Connection::open(Arc::new(config), session);
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
        Ok(Acquired::Contended(contention(value)?))
    }

    /// Runs a script that takes the lock and its owner record, and these arguments.
    async fn on_lock(
        &self,
        script: &LuaScript,
        resource: &Resource,
        arguments: &[&str],
        deadline: Deadline,
    ) -> Result<Reply> {
        let (lock, owner) = (self.keys.lock(resource), self.keys.owner(resource));
        let fill = |command: &mut Cmd| {
            command.arg(&lock).arg(&owner).arg(arguments);
        };
        self.run(script, 2, fill, deadline).await
    }

    async fn release(&self, resource: &Resource, nonce: Nonce, deadline: Deadline) -> Result<Released> {
        let reply = self.on_lock(&RELEASE, resource, &[&nonce.to_string()], deadline).await?;
        Ok(match decode(reply.value)? {
            true => Released::Yes,
            false if reply.resent => Released::NotAnyMore,
            false => Released::No,
        })
    }

    async fn renew(
        &self,
        resource: &Resource,
        nonce: Nonce,
        renewing: Renewing,
        deadline: Deadline,
    ) -> Result<Renewed> {
        let lease = renewing.lease().unwrap_or_default().as_millis().to_string();
        let how = if matches!(renewing, Renewing::Set(_)) { "set" } else { "raise" };
        let arguments = [&*nonce.to_string(), &lease, how];
        let Reply { value, sent, .. } = self.on_lock(&RENEW, resource, &arguments, deadline).await?;
        let standing = match decode(value)? {
            1 => Standing::Held,
            0 => Standing::Gone,
            _ => Standing::Taken,
        };
        Ok(Renewed { standing, sent })
    }

    async fn inspect(&self, resource: &Resource, deadline: Deadline) -> Result<Option<Contention>> {
        match self.on_lock(&INSPECT, resource, &[], deadline).await?.value {
            Value::Nil => Ok(None),
            value => contention(value).map(Some),
        }
    }

    async fn purge(&self, patience: Limit) -> Result<()> {
        let pattern = self.keys.pattern();
        let mut cursor = 0u64;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PURGE_PAGE);
            let reply = self.connection.call(scan, None, Deadline::after(patience)).await?;
            let (next, page): (u64, Vec<Vec<u8>>) = decode(reply.value)?;
            // A lock and its owner record go in one step, whichever of them the page has.
            let locks: BTreeSet<_> = page.iter().filter_map(|key| self.keys.of_lock(key)).collect();
            let channels = self.keys.channels();
            try_join_all(locks.iter().map(|[lock, owner]| {
                let fill = move |command: &mut Cmd| {
                    command.arg(lock).arg(owner).arg(channels);
                };
                self.run(&REMOVE, 2, fill, Deadline::after(patience))
            }))
            .await?;
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

    fn renew<'a>(
        &'a self,
        resource: &'a Resource,
        nonce: Nonce,
        renewing: Renewing,
        deadline: Deadline,
    ) -> Answer<'a, Renewed> {
        Box::pin(self.renew(resource, nonce, renewing, deadline))
    }

    fn inspect<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, Option<Contention>> {
        Box::pin(self.inspect(resource, deadline))
    }

    fn remove<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, bool> {
        Box::pin(async move {
            decode(self.on_lock(&REMOVE, resource, &[self.keys.channels()], deadline).await?.value)
        })
    }

    fn purge(&self, patience: Limit) -> Answer<'_, ()> {
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

/// What `acquire` and `inspect` say of a lock that somebody holds.
fn contention(value: Value) -> Result<Contention> {
    let (count, left, record): (u64, i64, String) = decode(value)?;
    let lease_left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    Ok(Contention { count, holder: OwnerRecord::parse(&record), lease_left })
}

/// A reply as the type that the command is known to answer with.
fn decode<T: redis::FromRedisValue>(value: Value) -> Result<T> {
    from_redis_value(value).map_err(|error| {
        let cause = Cause::new("EPROTO", error);
        Error::Refused(Refusal { kind: RefusalKind::Other, cause, unanswered: false })
    })
}
