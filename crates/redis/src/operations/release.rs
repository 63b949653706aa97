//! Gives up what an attempt holds, or may hold.

use std::sync::LazyLock;

use lock_inc_core::{
    error::Result,
    store::{Deadline, Release, Released},
};
use redis::{Cmd, Value};

use super::hand_overs;
use crate::{
    Redis,
    keys::LockKeys,
    link::Member,
    script::{LuaScript, script},
};

pub(super) static RELEASE: LazyLock<LuaScript> = script!(
    2,
    "release_uncontended",
    "shared/clock",
    "shared/word",
    "shared/records",
    "shared/clients",
    "shared/holders",
    "shared/lease",
    "shared/queue",
    "release"
);

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
        }
        let member = queued.map(|terms| self.queue_member(resource, nonce, terms));
        let arguments = |command: &mut Cmd, _: &Member| {
            command.arg(nonce.number()).arg(&self.client).arg(self.keys.channels()).arg(&member);
        };
        let reply = self.run_with_queue(&RELEASE, &keys, arguments, deadline).await?;
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
