//! Takes a resource from whoever holds it.

use std::sync::LazyLock;

use lock_inc_core::{error::Result, store::Deadline};
use redis::Cmd;

use super::decode;
use crate::{
    Redis,
    keys::LockKeys,
    script::{LuaScript, script},
};

static REMOVE: LazyLock<LuaScript> = script!(3, "shared/clock", "shared/owner", "shared/queue", "remove");

impl Redis {
    /// Removes the lock that somebody has now, and no other, however often that is sent. `false` if nobody has one.
    pub(crate) async fn force_unlock(&self, keys: &LockKeys<'_>, deadline: Deadline) -> Result<bool> {
        let look = |command: &mut Cmd| {
            command.arg("MGET").arg(keys.lock()).arg(keys.owner());
        };
        let (value, record): (Option<Vec<u8>>, Option<Vec<u8>>) = decode(self.call(look, deadline).await?)?;
        let seen = |command: &mut Cmd| {
            command.arg(self.keys.channels());
            command.arg(value.as_deref().unwrap_or_default()).arg(record.as_deref().unwrap_or_default());
        };
        let removed: bool = decode(self.run_with_queue(&REMOVE, keys, seen, deadline).await?.value)?;
        Ok(removed || value.is_some())
    }

    /// Removes the lock of whoever has it when this arrives.
    pub(crate) async fn remove(&self, keys: &LockKeys<'_>, deadline: Deadline) -> Result<bool> {
        let channels = |command: &mut Cmd| {
            command.arg(self.keys.channels());
        };
        decode(self.run_with_queue(&REMOVE, keys, channels, deadline).await?.value)
    }
}
