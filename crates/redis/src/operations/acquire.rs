//! Takes a resource, or joins its queue.

use std::{sync::LazyLock, time::Duration};

use lock_inc_core::{
    Resource,
    error::Result,
    store::{Acquired, Attempt, Deadline, Grant},
};
use redis::Value;

use super::{
    contention, decode, in_ms,
    of_one_lock::{OfOneLock, common},
    subscribed,
    take::Taken,
};
use crate::{
    Redis,
    keys::LockKeys,
    link::{Command, Member, Part},
    resp,
    script::{LuaScript, script},
    server_clock::Told,
    topology::call::Reply,
};

pub(super) static ACQUIRE: LazyLock<LuaScript> = script!(
    0,
    "acquire_uncontended",
    "acquire_beside",
    "shared/clock",
    "shared/word",
    "shared/records",
    "shared/clients",
    "shared/holders",
    "shared/lease",
    "shared/queue",
    "shared/each",
    "acquire"
);

static ACQUIRES: OfOneLock = OfOneLock { name: "acquire", script: &ACQUIRE, arguments: 6 };

impl Redis {
    pub(crate) async fn acquire(&self, attempt: &Attempt, deadline: Deadline) -> Result<Acquired> {
        self.tell_who_takes(attempt, deadline).await;
        let keys = self.keys.of(&attempt.resource);
        if attempt.steals {
            return self.steal(attempt, &keys, deadline).await.map(Acquired::Granted);
        }
        let mut is_taken = false;
        let is_shared = attempt.nonce.is_shared();
        if is_shared && attempt.is_held_here {
            // Several share it, so there is more to do than to take it.
            self.contended.note(attempt.resource.shared_hash(), self.seats.now());
        }
        if !attempt.is_held_here && self.is_easy(&attempt.resource, &keys, deadline) {
            match Box::pin(self.take(attempt, &keys, deadline)).await? {
                Taken::Granted(grant) => return Ok(Acquired::Granted(grant)),
                Taken::No => self.contended.note(attempt.resource.shared_hash(), self.seats.now()),
                Taken::Perhaps => is_taken = true,
            }
        }
        let (lease, limit) = (in_ms(attempt.terms.lease), u64::from(attempt.terms.mode.limit()));
        let part = Part {
            kind: &ACQUIRES,
            script: &ACQUIRE,
            common: &common(format_args!("{is_shared}/{lease}/{limit}/{}", attempt.waits), &keys),
            add: &|gathered, member| {
                gathered.add_nonce(&keys, attempt.nonce, |arguments| {
                    let record = if attempt.waits { self.record(&attempt.resource) } else { String::new() };
                    resp::decimal(arguments, lease);
                    resp::decimal(arguments, limit);
                    for argument in [self.keys.channels(), &record, subscribed(member)] {
                        resp::word(arguments, argument.as_bytes());
                    }
                });
            },
        };
        let place = self.seats.place_of(keys.lock());
        if attempt.waits && self.keys.are_scattered() {
            // Somebody has waited for it a moment ago, and so will somebody again.
            if self.contended.has(attempt.resource.hash(), self.seats.now()) {
                self.seats.listen_closely(&place, keys.lock());
            }
        }
        let reply = self.seats.call(&place, Command::Part(&part), deadline).await;
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
