//! Asks for a new lease, or whether a lock is still held.

use std::sync::LazyLock;

use lock_inc_core::{
    LeaseChange,
    error::Result,
    store::{Deadline, Ownership, Renew, Renewed},
};
use redis::Cmd;

use super::{decode, in_ms};
use crate::{
    Redis,
    link::Member,
    script::{LuaScript, script},
    topology::call::Reply,
};

static RENEW: LazyLock<LuaScript> = script!(
    4,
    "shared/clock",
    "shared/word",
    "shared/records",
    "shared/clients",
    "shared/holders",
    "shared/lease",
    "renew"
);

impl Redis {
    pub(crate) async fn renew(
        &self,
        Renew { resource, nonce, token, change, lease_left, extensions }: Renew<'_>,
        deadline: Deadline,
    ) -> Result<Renewed> {
        // Before it is sent: once it is unlocked, no answer lists it again.
        let left = change.lease().unwrap_or_default().max(lease_left);
        if self.listing.on_held(resource, nonce, self.seats.now() + left) {
            self.write_listing();
        }
        let lease = in_ms(change.lease().unwrap_or_default());
        let how = if matches!(change, LeaseChange::Exactly(_)) { "set" } else { "raise" };
        let record = self.record(resource);
        let keys = self.keys.of(resource);
        let fill = |command: &mut Cmd, _: &Member| {
            command.arg(keys.lock()).arg(keys.clients()).arg(keys.holders());
            command.arg(nonce.number()).arg(lease).arg(how).arg(extensions).arg(token).arg(&record);
        };
        let Reply { value, sent, .. } = self.run(keys.lock(), &RENEW, 3, fill, deadline).await?;
        let ownership = match decode(value)? {
            1 => Ownership::Held,
            0 => Ownership::Gone,
            _ => Ownership::Taken,
        };
        Ok(Renewed { ownership, sent })
    }
}
