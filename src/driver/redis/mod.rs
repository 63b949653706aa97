//! Locks in Redis. `docs/protocol.md` is the reference for what is sent.

use std::{
    collections::BTreeSet,
    future::ready,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::try_join_all;
use redis::{Cmd, Value, cmd, from_redis_value};

use self::{
    connection::{Connection, Reply},
    keys::{Keys, LockKeys},
    news::Session,
    scripts::{ACQUIRE, INSPECT, LuaScript, POLL, RELEASE, REMOVE, RENEW},
};
use super::{
    Acquired, Answer, Attempt, Deadline, Driver, Grant, HandOver, Notices, Polled, Released, Renewed,
    Renewing,
};
use crate::{
    core::{
        Contention, Holder, Identity, Inspection, Nonce, Queued, Resource, Standing, StoreClock, Waiter,
        record,
    },
    error::{Cause, Error, Limit, Refusal, RefusalKind, Result},
};

pub mod config;
mod connect;
mod connection;
mod keys;
mod news;
mod outbox;
mod refusal;
mod scripts;
#[cfg(unix)]
pub mod socket;
pub mod tls;
pub mod url;
#[cfg(unix)]
mod watchdog;

/// Keys that one `SCAN` of a purge looks at.
const PURGE_PAGE: usize = 1000;

/// A locker's locks in one Redis, under one prefix.
pub struct Redis {
    connection: Connection,
    keys: Keys,
    /// The id of this locker.
    client: String,
    /// What records in the store say of it.
    description: String,
    /// Whether messages reach us.
    hears: Arc<AtomicBool>,
}

impl Redis {
    /// Starts to connect. Must be called on the runtime. `watcher`: who else reads from the socket.
    pub fn open(
        config: config::Config,
        prefix: &str,
        identity: Identity,
        notices: Notices,
        #[cfg(unix)] watcher: Option<Arc<dyn socket::Watcher>>,
    ) -> Self {
        let keys = Keys::new([&config.key_prefix, prefix].concat());
        let hears = Arc::<AtomicBool>::default();
        let session = Session {
            name: format!("lock-inc:{}", identity.client),
            channel: [keys.channels(), &identity.client].concat(),
            prefix: keys.prefix().to_owned(),
            notices,
            hears: hears.clone(),
            #[cfg(unix)]
            watcher,
        };
        let connection = Connection::open(Arc::new(config), session);
        Self { connection, keys, description: identity.describe(), client: identity.client, hears }
    }

    /// Runs a script. `fill` adds the keys, of which there are so many, and the arguments.
    #[expect(clippy::manual_async_fn, reason = "an async function would keep room for its arguments twice")]
    fn run<'a>(
        &'a self,
        script: &'a LuaScript,
        keys: usize,
        fill: impl Fn(&mut Cmd) + Send + Sync + 'a,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Reply>> + 'a {
        async move { self.connection.call(&|form| script.command(form, keys, &fill), deadline).await }
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
            command.arg(keys.lock()).arg(keys.owner()).arg(keys.fence).arg(keys.queue()).arg(keys.alive());
            arguments(command);
        };
        self.run(script, 5, fill, deadline)
    }

    /// As the scripts have it, and true of the connection that the command is about to be sent on.
    fn hears(&self) -> &'static str {
        if self.hears.load(Ordering::Relaxed) { "1" } else { "0" }
    }

    /// What stands for a waiting call in the queue.
    fn member(&self, resource: &Resource, nonce: Nonce, lease: Duration) -> String {
        format!("{nonce} {} {}", lease.as_millis(), self.record(resource))
    }

    fn record(&self, resource: &Resource) -> String {
        record(&self.description, resource.name())
    }

    async fn acquire(&self, attempt: &Attempt, deadline: Deadline) -> Result<Acquired> {
        let record = self.record(&attempt.resource);
        let (nonce, lease) = (attempt.nonce.text(), in_ms(attempt.lease));
        let arguments = |command: &mut Cmd| {
            let waits = attempt.waits.then(|| self.hears());
            command.arg(&nonce).arg(lease).arg(&record).arg(self.keys.channels()).arg(waits);
        };
        let keys = self.keys.of(&attempt.resource);
        let Reply { value, sent, .. } = self.run_with_queue(&ACQUIRE, &keys, arguments, deadline).await?;
        if let Value::Int(token) = value {
            return Ok(Acquired::Granted(Grant { token: token.unsigned_abs(), sent }));
        }
        let (count, left, record, time, ticket, place): (u64, i64, String, u64, u64, u64) = decode(value)?;
        Ok(Acquired::Contended {
            contention: contention(count, left, &record, place),
            ticket: attempt.waits.then_some(ticket),
            clock: StoreClock { sent, time: Duration::from_micros(time) },
        })
    }

    async fn poll(
        &self,
        resource: &Resource,
        waiting: &[Queued],
        last: bool,
        deadline: Deadline,
    ) -> Result<Polled> {
        let members: Vec<_> = waiting
            .iter()
            .map(|&Queued { nonce, lease, ticket }| [ticket.to_string(), self.member(resource, nonce, lease)])
            .collect();
        let arguments = |command: &mut Cmd| {
            command.arg(&self.client).arg(self.keys.channels()).arg(self.hears());
            command.arg(if last { "1" } else { "" });
            for [ticket, member] in &members {
                command.arg(ticket).arg(member);
            }
        };
        let keys = self.keys.of(resource);
        let Reply { value, sent, .. } = self.run_with_queue(&POLL, &keys, arguments, deadline).await?;
        let (time, missing, place, granted, count, left, record): (u64, u64, u64, Value, u64, i64, String) =
            decode(value)?;
        Ok(Polled {
            missing,
            contention: (count > 0).then(|| contention(count, left, &record, place)),
            hand_over: if granted == Value::Nil { None } else { Some(hand_over(granted)?) },
            clock: StoreClock { sent, time: Duration::from_micros(time) },
        })
    }

    async fn release(
        &self,
        resource: &Resource,
        nonce: Nonce,
        waiting: Option<Duration>,
        deadline: Deadline,
    ) -> Result<Released> {
        let nonce_text = nonce.text();
        let member = waiting.map(|lease| self.member(resource, nonce, lease));
        let arguments = |command: &mut Cmd| {
            command.arg(&nonce_text).arg(&self.client).arg(self.keys.channels()).arg(&member);
        };
        let reply = self.run_with_queue(&RELEASE, &self.keys.of(resource), arguments, deadline).await?;
        Ok(match reply.value {
            Value::Int(0) if reply.resent => Released::NotAnyMore,
            Value::Int(0) => Released::No,
            Value::Int(_) => Released::Yes(None),
            granted => Released::Yes(Some((hand_over(granted)?, reply.sent))),
        })
    }

    async fn renew(
        &self,
        resource: &Resource,
        nonce: Nonce,
        renewing: Renewing,
        deadline: Deadline,
    ) -> Result<Renewed> {
        let lease = in_ms(renewing.lease().unwrap_or_default());
        let how = if matches!(renewing, Renewing::Set(_)) { "set" } else { "raise" };
        let nonce = nonce.text();
        let keys = self.keys.of(resource);
        let fill = |command: &mut Cmd| {
            command.arg(keys.lock()).arg(keys.owner()).arg(keys.alive());
            command.arg(&nonce).arg(lease).arg(how);
        };
        let Reply { value, sent, .. } = self.run(&RENEW, 3, fill, deadline).await?;
        let standing = match decode(value)? {
            1 => Standing::Held,
            0 => Standing::Gone,
            _ => Standing::Taken,
        };
        Ok(Renewed { standing, sent })
    }

    async fn inspect(&self, resource: &Resource, deadline: Deadline) -> Result<Option<Inspection>> {
        let keys = self.keys.of(resource);
        let fill = |command: &mut Cmd| {
            command.arg(keys.lock()).arg(keys.owner()).arg(keys.queue()).arg(keys.alive());
        };
        let mut fields: Vec<Value> = decode(self.run(&INSPECT, 4, fill, deadline).await?.value)?;
        let queue = fields.split_off(fields.len().min(3));
        let (count, left, record): (u64, i64, String) = decode(Value::Array(fields))?;
        let queue: Vec<(u64, String)> = decode(Value::Array(queue))?;
        let inspection = Inspection {
            holding: (count > 0).then(|| contention(count, left, &record, 0)),
            waiters: queue.iter().filter_map(|(ticket, member)| Waiter::parse(*ticket, member)).collect(),
        };
        Ok((inspection.holding.is_some() || !inspection.waiters.is_empty()).then_some(inspection))
    }

    async fn remove(&self, keys: &LockKeys<'_>, deadline: Deadline) -> Result<bool> {
        let channels = |command: &mut Cmd| {
            command.arg(self.keys.channels());
        };
        decode(self.run_with_queue(&REMOVE, keys, channels, deadline).await?.value)
    }

    async fn purge(&self, patience: Limit) -> Result<()> {
        let pattern = self.keys.pattern();
        let mut cursor = 0u64;
        loop {
            let scan = |_| {
                let mut scan = cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PURGE_PAGE);
                scan
            };
            let reply = self.connection.call(&scan, Deadline::after(patience)).await?;
            let (next, page): (u64, Vec<Vec<u8>>) = decode(reply.value)?;
            // All that belongs to a lock goes in one step, whichever of its keys the page has.
            let locks: BTreeSet<_> = page.iter().filter_map(|key| self.keys.lock_of(key)).collect();
            try_join_all(
                locks
                    .into_iter()
                    .map(async |lock| self.remove(&self.keys.of_lock(lock), Deadline::after(patience)).await),
            )
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

    fn poll<'a>(
        &'a self,
        resource: &'a Resource,
        waiting: &'a [Queued],
        last: bool,
        deadline: Deadline,
    ) -> Answer<'a, Polled> {
        Box::pin(self.poll(resource, waiting, last, deadline))
    }

    fn release<'a>(
        &'a self,
        resource: &'a Resource,
        nonce: Nonce,
        waiting: Option<Duration>,
        deadline: Deadline,
    ) -> Answer<'a, Released> {
        Box::pin(self.release(resource, nonce, waiting, deadline))
    }

    fn is_locked<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, bool> {
        Box::pin(async move {
            let keys = self.keys.of(resource);
            let exists = |_| {
                let mut exists = cmd("EXISTS");
                exists.arg(keys.lock());
                exists
            };
            decode(self.connection.call(&exists, deadline).await?.value)
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

    fn inspect<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, Option<Inspection>> {
        Box::pin(self.inspect(resource, deadline))
    }

    fn remove<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, bool> {
        Box::pin(async move { self.remove(&self.keys.of(resource), deadline).await })
    }

    fn purge(&self, patience: Limit) -> Answer<'_, ()> {
        Box::pin(self.purge(patience))
    }

    fn look(&self) {
        self.connection.look();
    }

    fn begin_close(&self) {
        self.connection.begin_close();
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.connection.close();
        Box::pin(ready(()))
    }
}

/// What a script says of a lock that somebody holds. `place`: 0 is none.
fn contention(count: u64, left: i64, record: &str, place: u64) -> Contention {
    let lease_left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    Contention { count, holder: Holder::parse(record), lease_left, place: (place > 0).then_some(place) }
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
fn decode<T: redis::FromRedisValue>(value: Value) -> Result<T> {
    from_redis_value(value).map_err(unintelligible)
}

fn unintelligible(error: impl std::fmt::Display) -> Error {
    let cause = Cause::new("EPROTO", error);
    Error::Refused(Refusal { kind: RefusalKind::Other, cause, unanswered: false })
}
