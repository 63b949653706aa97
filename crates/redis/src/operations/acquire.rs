//! Takes a resource, or joins its queue.

use std::{sync::LazyLock, time::Duration};

use lock_inc_core::{
    Resource,
    error::Result,
    store::{Acquired, Attempt, Deadline, Grant},
};
use redis::{Cmd, Value};

use super::{contention, decode, in_ms, subscribed, take::Taken};
use crate::{
    Redis,
    keys::LockKeys,
    link::Member,
    script::{LuaScript, script},
    server_clock::Told,
    topology::call::Reply,
};

pub(super) static ACQUIRE: LazyLock<LuaScript> = script!(
    0,
    "acquire_uncontended",
    "shared/clock",
    "shared/word",
    "shared/records",
    "shared/clients",
    "shared/holders",
    "shared/lease",
    "shared/queue",
    "acquire"
);

impl Redis {
    pub(crate) async fn acquire(&self, attempt: &Attempt, deadline: Deadline) -> Result<Acquired> {
        self.tell_who_takes(attempt, deadline).await;
        let keys = self.keys.of(&attempt.resource);
        if attempt.steals {
            return self.steal(attempt, &keys, deadline).await.map(Acquired::Granted);
        }
        let mut is_taken = false;
        if !attempt.is_held_here && self.is_easy(&attempt.resource, &keys, deadline) {
            match Box::pin(self.take(attempt, &keys, deadline)).await? {
                Taken::Granted(grant) => return Ok(Acquired::Granted(grant)),
                Taken::No => self.contended.note(attempt.resource.shared_hash(), self.seats.now()),
                Taken::Perhaps => is_taken = true,
            }
        }
        let (nonce, lease) = (attempt.nonce.number(), in_ms(attempt.terms.lease));
        let record = attempt.waits.then(|| self.record(&attempt.resource));
        let arguments = |command: &mut Cmd, member: &Member| {
            command.arg(nonce).arg(lease).arg(attempt.terms.mode.limit()).arg(self.keys.channels());
            if let Some(record) = &record {
                command.arg(record).arg(subscribed(member));
            }
        };
        let reply = self.run_with_queue(&ACQUIRE, &keys, arguments, deadline).await;
        let Reply { value, sent, member, connection, .. } =
            reply.map_err(|error| if is_taken { error.after_sending() } else { error })?;
        member.two_steps.on_answer(sent.until(self.seats.now()));
        if let Value::Int(token) = value {
            let token = token.unsigned_abs();
            member.clock.on_token(connection, token, Told::Lifted, sent, || self.seats.now());
            return Ok(Acquired::Granted(Grant { token, sent }));
        }
        let (count, left, record, time, ticket, place): (u64, i64, String, u64, u64, u64) = decode(value)?;
        member.on_time(sent, Duration::from_micros(time));
        self.contended.note(attempt.resource.shared_hash(), self.seats.now());
        let mut contention = contention(count, left, &record, place);
        if !attempt.waits {
            self.find_holder(contention.holder.as_mut(), deadline).await;
        }
        if attempt.waits && self.listing.on_waiting(&attempt.resource, self.seats.now()) {
            self.write_listing();
        }
        Ok(Acquired::Contended { contention, ticket: attempt.waits.then_some(ticket), sent })
    }

    /// Whether to try a `take`: there is time for what may have to follow, a token that is only counted is near the server's
    /// clock, as far as that is known, and nobody has lately been in the way of anybody.
    fn is_easy(&self, resource: &Resource, keys: &LockKeys<'_>, deadline: Deadline) -> bool {
        // There is a register for each slot, whose tokens say little of the others.
        if self.keys.are_scattered() {
            return false;
        }
        let now = self.seats.now();
        let Some(seat) = self.seats.at(&self.seats.place_of(keys.lock())) else { return false };
        let Member { two_steps, clock, .. } = &*seat.member;
        two_steps.are_allowed(now)
            && two_steps.fit(deadline.left())
            && clock.is_near(seat.member.connection(), now)
            && !self.contended.has(resource.hash(), now)
    }
}
