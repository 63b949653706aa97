//! Gives up what an attempt holds, or may hold.

use std::sync::LazyLock;

use lock_inc_core::{
    error::Result,
    store::{Deadline, Release, Released},
};
use redis::{Cmd, Value};

use super::hand_over;
use crate::{
    Redis,
    script::{LuaScript, script},
};

static RELEASE: LazyLock<LuaScript> = script!(
    2,
    "release_uncontended",
    "shared/clock",
    "shared/word",
    "shared/clients",
    "shared/lease",
    "shared/queue",
    "release"
);

impl Redis {
    pub(crate) async fn release(
        &self,
        Release { resource, nonce, queued }: Release<'_>,
        deadline: Deadline,
    ) -> Result<Released> {
        let member = queued.map(|lease| self.queue_member(resource, nonce, lease));
        let arguments = |command: &mut Cmd| {
            command.arg(nonce.number()).arg(&self.client).arg(self.keys.channels()).arg(&member);
        };
        let reply = self.run_with_queue(&RELEASE, &self.keys.of(resource), arguments, deadline).await?;
        Ok(match reply.value {
            Value::Int(0) if reply.resent => Released::NotAnyMore,
            Value::Int(0) => Released::No,
            Value::Int(_) => Released::Yes(None),
            granted => Released::Yes(Some((hand_over(granted)?, reply.sent))),
        })
    }
}
