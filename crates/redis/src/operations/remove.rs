//! Takes a resource from whoever holds it.

use std::sync::LazyLock;

use futures_util::future::join_all;
use lock_inc_core::{Nonce, error::Result, store::Deadline};
use redis::Cmd;

use super::{GROUP, WORD, decode};
use crate::{
    Redis,
    keys::LockKeys,
    link::Member,
    script::{LuaScript, script},
};

static REMOVE: LazyLock<LuaScript> = script!(
    3,
    "shared/clock",
    "shared/word",
    "shared/records",
    "shared/clients",
    "shared/holders",
    "shared/queue",
    "shared/loss",
    "remove"
);

/// What was at a lock, and who had it.
pub(super) struct Seen {
    value: Option<Vec<u8>>,
    /// The nonce of each, and the id of its locker, or '' where that is not known.
    pub(super) holders: Vec<(String, String)>,
}

impl Redis {
    /// Removes the lock that somebody has now, and no other, however often that is sent. `false` if nobody has one.
    pub(crate) async fn force_unlock(&self, keys: &LockKeys<'_>, deadline: Deadline) -> Result<bool> {
        let Seen { value, holders } = self.see(keys, deadline).await?;
        let seen = |command: &mut Cmd, _: &Member| {
            command.arg(self.keys.channels()).arg(value.as_deref().unwrap_or_default()).arg(&holders);
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
        let holders = self.holders_of(keys, value, deadline).await?;
        let arguments = |command: &mut Cmd, _: &Member| {
            command.arg(self.keys.channels()).arg("*").arg(&holders);
        };
        decode(self.run_with_queue(&REMOVE, keys, arguments, deadline).await?.value)
    }

    /// Looks at a lock.
    pub(super) async fn see(&self, keys: &LockKeys<'_>, deadline: Deadline) -> Result<Seen> {
        let look = |command: &mut Cmd| {
            command.arg("MGET").arg(keys.lock());
        };
        // What is of a foreign type is as good as none.
        let (value,): (Option<Vec<u8>>,) = decode(self.call(keys.lock(), look, deadline).await?)?;
        let holders = self.holders_of(keys, value.as_deref(), deadline).await?;
        Ok(Seen { value, holders })
    }

    /// Who has a lock, whose key has this value. The script tells those that its records do not name.
    async fn holders_of(
        &self,
        keys: &LockKeys<'_>,
        value: Option<&[u8]>,
        deadline: Deadline,
    ) -> Result<Vec<(String, String)>> {
        let is_word = |value: &&[u8]| value.len() == WORD && value.iter().all(u8::is_ascii_digit);
        let word = value.filter(is_word).and_then(|value| str::from_utf8(value).ok());
        let Some(word) = word else { return Ok(Vec::new()) };
        let nonces = if word.starts_with(GROUP) {
            let list = |command: &mut Cmd| {
                command.arg("ZRANGE").arg(keys.holders()).arg(0).arg(-1);
            };
            decode(self.call(keys.lock(), list, deadline).await?)?
        } else {
            vec![word[..Nonce::LEN].to_owned()]
        };
        let named = nonces.into_iter().map(async |nonce: String| {
            let number = nonce.parse().ok().map(Nonce::locker);
            let identity = match number {
                Some(number) => self.identify(number, deadline).await,
                None => None,
            };
            (nonce, identity.map(|identity| identity.client).unwrap_or_default())
        });
        Ok(join_all(named).await)
    }
}
