//! Takes a resource, or joins its queue.

use std::{sync::LazyLock, time::Duration};

use lock_inc_core::{
    StoreClock,
    error::Result,
    store::{Acquired, Attempt, Deadline, Grant},
};
use redis::{Cmd, Value};

use super::{contention, decode, in_ms};
use crate::{
    Redis,
    link::Reply,
    script::{LuaScript, script},
};

static ACQUIRE: LazyLock<LuaScript> = script!(
    0,
    "acquire_uncontended",
    "shared/clock",
    "shared/owner",
    "shared/lease",
    "shared/queue",
    "acquire"
);

impl Redis {
    pub(crate) async fn acquire(&self, attempt: &Attempt, deadline: Deadline) -> Result<Acquired> {
        let record = self.record(&attempt.resource);
        let (nonce, lease) = (attempt.nonce.text(), in_ms(attempt.lease));
        let arguments = |command: &mut Cmd| {
            let waits = attempt.waits.then(|| self.subscribed());
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
}
