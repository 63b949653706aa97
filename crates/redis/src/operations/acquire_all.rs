//! Takes several resources, or none.

use std::sync::LazyLock;

use lock_inc_core::{
    error::Result,
    store::{AllAcquired, Attempt, Deadline},
};
use redis::{Cmd, Value};

use super::{contention, decode, in_ms, unintelligible};
use crate::{
    Redis,
    link::Member,
    script::{LuaScript, script},
    server_clock::Told,
    topology::call::Reply,
};

static ACQUIRE_ALL: LazyLock<LuaScript> = script!(
    9,
    "shared/several",
    "shared/clock",
    "shared/word",
    "shared/records",
    "shared/clients",
    "shared/holders",
    "shared/lease",
    "shared/queue",
    "acquire_all"
);

impl Redis {
    pub(crate) async fn acquire_all(&self, attempts: &[Attempt], deadline: Deadline) -> Result<AllAcquired> {
        let Some(first) = attempts.first() else {
            return Ok(AllAcquired::Granted { tokens: Vec::new(), sent: self.seats.now() });
        };
        self.tell_who_takes(first, deadline).await;
        let keys: Vec<_> = attempts.iter().map(|attempt| self.keys.of(&attempt.resource)).collect();
        let fill = |command: &mut Cmd, _: &Member| {
            for keys in &keys {
                command.arg(keys.lock()).arg(keys.clients()).arg(keys.holders()).arg(keys.queue());
            }
            command.arg(keys[0].fence());
            command.arg(in_ms(first.terms.lease)).arg(first.terms.mode.limit()).arg(self.keys.channels());
            for attempt in attempts {
                command.arg(attempt.nonce.number());
            }
        };
        let count = 4 * keys.len() + 1;
        let reply = self.run(keys[0].lock(), &ACQUIRE_ALL, count, fill, deadline).await?;
        let Reply { value, sent, resent, member, connection } = reply;
        let mut fields: Vec<Value> = decode(value)?;
        let rest = fields.split_off(1.min(fields.len()));
        let (number,): (usize,) = decode(Value::Array(fields))?;
        let Some(index) = number.checked_sub(1) else {
            let (token,): (u64,) = decode(Value::Array(rest))?;
            member.clock.on_token(connection, token, Told::Lifted, sent, || self.seats.now());
            return Ok(AllAcquired::Granted { tokens: (token..).take(attempts.len()).collect(), sent });
        };
        let (tried, left, record): (u64, i64, String) = decode(Value::Array(rest))?;
        let in_the_way = attempts.get(index).ok_or_else(|| unintelligible("no such lock"))?;
        self.contended.note(in_the_way.resource.shared_hash(), self.seats.now());
        let mut contention = contention(tried, left, &record, 0);
        self.find_holder(contention.holder.as_mut(), deadline).await;
        Ok(AllAcquired::Contended { index, contention, resent })
    }
}
