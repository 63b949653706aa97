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
    pub(crate) async fn remove(&self, keys: &LockKeys<'_>, deadline: Deadline) -> Result<bool> {
        let channels = |command: &mut Cmd| {
            command.arg(self.keys.channels());
        };
        decode(self.run_with_queue(&REMOVE, keys, channels, deadline).await?.value)
    }
}
