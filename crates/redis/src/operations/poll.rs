//! Asks about calls that wait.

use std::{sync::LazyLock, time::Duration};

use lock_inc_core::{
    error::Result,
    store::{Deadline, Poll, Polled},
};
use redis::{Cmd, Value};

use super::{contention, decode, hand_overs, subscribed};
use crate::{
    Redis,
    link::Member,
    script::{LuaScript, script},
    topology::call::Reply,
};

static POLL: LazyLock<LuaScript> = script!(
    1,
    "shared/clock",
    "shared/word",
    "shared/records",
    "shared/clients",
    "shared/holders",
    "shared/lease",
    "shared/queue",
    "poll"
);

/// As the script returns them.
type PolledFields = (u64, u64, Vec<u64>, Value, u64, i64, String);

impl Redis {
    pub(crate) async fn poll(
        &self,
        Poll { resource, waiting, last }: Poll<'_>,
        deadline: Deadline,
    ) -> Result<Polled> {
        let members: Vec<_> = waiting
            .iter()
            .map(|waiting| {
                [waiting.ticket.to_string(), self.queue_member(resource, waiting.nonce, waiting.terms)]
            })
            .collect();
        let arguments = |command: &mut Cmd, member: &Member| {
            command.arg(&self.client).arg(self.keys.channels()).arg(subscribed(member));
            command.arg(if last { "1" } else { "" });
            for [ticket, member] in &members {
                command.arg(ticket).arg(member);
            }
        };
        let keys = self.keys.of(resource);
        let reply = self.run_with_queue(&POLL, &keys, arguments, deadline).await?;
        let Reply { value, sent, member, .. } = reply;
        let (time, missing, places, granted, count, left, record) = decode::<PolledFields>(value)?;
        member.on_time(sent, Duration::from_micros(time));
        if !last && self.listing.on_waiting(resource, self.seats.now()) {
            self.write_listing();
        }
        let mut contention = (count > 0).then(|| contention(count, left, &record, 0));
        if last {
            let holder = contention.as_mut().and_then(|contention| contention.holder.as_mut());
            self.find_holder(holder, deadline).await;
        }
        Ok(Polled {
            missing,
            contention,
            hand_overs: hand_overs(granted)?,
            places: places.into_iter().map(|place| (place > 0).then_some(place)).collect(),
            sent,
        })
    }
}
