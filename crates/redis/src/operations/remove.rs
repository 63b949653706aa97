//! Takes a resource from whoever holds it.

use std::sync::LazyLock;

use lock_inc_core::{Nonce, error::Result, store::Deadline};
use redis::Cmd;

use super::decode;
use crate::{
    Redis,
    keys::LockKeys,
    script::{LuaScript, script},
};

static REMOVE: LazyLock<LuaScript> =
    script!(3, "shared/clock", "shared/word", "shared/clients", "shared/queue", "remove");

impl Redis {
    /// Removes the lock that somebody has now, and no other, however often that is sent. `false` if nobody has one.
    pub(crate) async fn force_unlock(&self, keys: &LockKeys<'_>, deadline: Deadline) -> Result<bool> {
        let look = |command: &mut Cmd| {
            command.arg("MGET").arg(keys.lock());
        };
        // What is of a foreign type is as good as none.
        let (value,): (Option<Vec<u8>>,) = decode(self.call(look, deadline).await?)?;
        let (number, client) = self.holder_of(value.as_deref(), deadline).await;
        let seen = |command: &mut Cmd| {
            command
                .arg(self.keys.channels())
                .arg(&number)
                .arg(&client)
                .arg(value.as_deref().unwrap_or_default());
        };
        let removed: bool = decode(self.run_with_queue(&REMOVE, keys, seen, deadline).await?.value)?;
        Ok(removed || value.is_some())
    }

    /// Removes the lock of whoever has it when this arrives. `value`: what was there a moment ago.
    pub(crate) async fn remove(
        &self,
        keys: &LockKeys<'_>,
        value: Option<&[u8]>,
        deadline: Deadline,
    ) -> Result<bool> {
        let (number, client) = self.holder_of(value, deadline).await;
        let arguments = |command: &mut Cmd| {
            command.arg(self.keys.channels()).arg(&number).arg(&client);
        };
        decode(self.run_with_queue(&REMOVE, keys, arguments, deadline).await?.value)
    }

    /// Whom the script is to tell, if it finds only a nonce: the number and the id of the locker that has this at a lock.
    async fn holder_of(&self, value: Option<&[u8]>, deadline: Deadline) -> (String, String) {
        let nonce =
            value.and_then(|value| str::from_utf8(value.get(..Nonce::LEN)?).ok()?.parse::<Nonce>().ok());
        let Some(number) = nonce.map(Nonce::locker) else { return Default::default() };
        match self.identify(number, deadline).await {
            Some(identity) => (number.to_string(), identity.client),
            None => Default::default(),
        }
    }
}
