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
    "shared/word",
    "shared/clients",
    "shared/lease",
    "shared/queue",
    "acquire"
);

impl Redis {
    pub(crate) async fn acquire(&self, attempt: &Attempt, deadline: Deadline) -> Result<Acquired> {
        self.tell_who_takes(attempt, deadline).await;
        let (nonce, lease) = (attempt.nonce.number(), in_ms(attempt.lease));
        let record = attempt.waits.then(|| self.record(&attempt.resource));
        let arguments = |command: &mut Cmd| {
            let floor = self.clock.floor(self.member.connection(), self.link.now());
            command.arg(nonce).arg(lease).arg(floor).arg(self.keys.channels());
            if let Some(record) = &record {
                command.arg(record).arg(self.subscribed());
            }
        };
        let keys = self.keys.of(&attempt.resource);
        let Reply { value, sent, .. } = self.run_with_queue(&ACQUIRE, &keys, arguments, deadline).await?;
        if let Value::Int(token) = value {
            let token = token.unsigned_abs();
            self.clock.on_token(self.member.connection(), token, sent, || self.link.now());
            return Ok(Acquired::Granted(Grant { token, sent }));
        }
        let (count, left, record, time, ticket, place): (u64, i64, String, u64, u64, u64) = decode(value)?;
        let mut contention = contention(count, left, &record, place);
        if !attempt.waits {
            self.find_holder(Some(&mut contention), deadline).await;
        }
        Ok(Acquired::Contended {
            contention,
            ticket: attempt.waits.then_some(ticket),
            clock: StoreClock { sent, time: Duration::from_micros(time) },
        })
    }
}
