//! Gives up what an attempt holds, or may hold.

use std::sync::LazyLock;

use lock_inc_core::{
    error::Result,
    store::{Deadline, Release, Released},
};
use redis::Value;

use super::{
    hand_overs,
    of_one_lock::{OfOneLock, common},
};
use crate::{
    Redis,
    keys::LockKeys,
    link::{Command, Part},
    resp,
    script::{LuaScript, script},
};

pub(super) static RELEASE: LazyLock<LuaScript> = script!(
    2,
    "release_uncontended",
    "release_beside",
    "shared/clock",
    "shared/word",
    "shared/records",
    "shared/clients",
    "shared/holders",
    "shared/lease",
    "shared/queue",
    "shared/each",
    "release"
);

static RELEASES: OfOneLock = OfOneLock { name: "release", script: &RELEASE, arguments: 4 };

impl Redis {
    pub(crate) async fn release(
        &self,
        Release { resource, nonce, queued, is_untouched }: Release<'_>,
        deadline: Deadline,
    ) -> Result<Released> {
        if self.listing.on_released(nonce) {
            self.write_listing();
        }
        let keys = self.keys.of(resource);
        let mut resent = false;
        let is_easy = is_untouched && !self.contended.has(resource.hash(), self.seats.now());
        if is_easy && self.has_time_for_two(&keys, deadline) {
            let reply = self.give(nonce, &keys, deadline).await?;
            if reply.value == Value::Int(1) {
                return Ok(Released::Yes(Vec::new()));
            }
            resent = reply.resent;
            if nonce.is_shared() {
                self.contended.note(resource.shared_hash(), self.seats.now());
            }
        }
        let part = Part {
            kind: &RELEASES,
            script: &RELEASE,
            common: &common(queued.map_or(0, |_| nonce.number()), &keys),
            add: &|gathered, _| {
                gathered.add_nonce(&keys, nonce, |arguments| {
                    let waiter = queued.map(|terms| self.queue_member(resource, nonce, terms));
                    let waiter = waiter.as_deref().unwrap_or_default();
                    for argument in [&self.client, self.keys.channels(), waiter] {
                        resp::word(arguments, argument.as_bytes());
                    }
                });
            },
        };
        let place = self.seats.place_of(keys.lock());
        let reply = self.seats.call(&place, Command::Part(&part), deadline).await?;
        Ok(match reply.value {
            Value::Int(0) if resent || reply.resent => Released::NotAnyMore,
            Value::Int(0) => Released::No,
            Value::Int(_) => Released::Yes(Vec::new()),
            granted => {
                let sent = reply.sent;
                Released::Yes(hand_overs(granted)?.into_iter().map(|hand_over| (hand_over, sent)).collect())
            }
        })
    }

    /// Whether there is time for two answers, with room to spare.
    fn has_time_for_two(&self, keys: &LockKeys<'_>, deadline: Deadline) -> bool {
        let seat = self.seats.at(&self.seats.place_of(keys.lock()));
        seat.is_some_and(|seat| seat.member.two_steps.fit(deadline.left()))
    }
}
