//! Removes every lock under the prefix.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use lock_inc_core::{
    error::{Limit, Result},
    store::Deadline,
};
use redis::Cmd;

use super::decode;
use crate::Redis;

/// Keys that one `SCAN` looks at.
const PAGE: usize = 1000;

impl Redis {
    pub(crate) async fn purge(&self, patience: Limit) -> Result<()> {
        let pattern = self.keys.pattern();
        let mut cursor = 0u64;
        loop {
            let scan = |command: &mut Cmd| {
                command.arg("SCAN").arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PAGE);
            };
            let (next, page): (u64, Vec<Vec<u8>>) =
                decode(self.call(scan, Deadline::after(patience)).await?)?;
            // All that belongs to a lock goes in one step, whichever of its keys the page has.
            let locks: BTreeSet<_> = page.iter().filter_map(|key| self.keys.lock_of(key)).collect();
            if !locks.is_empty() {
                let look = |command: &mut Cmd| {
                    command.arg("MGET").arg(&locks);
                };
                let values: Vec<Option<Vec<u8>>> = decode(self.call(look, Deadline::after(patience)).await?)?;
                let remove = async |(lock, value): (&&str, Option<Vec<u8>>)| {
                    self.remove(&self.keys.of_lock(lock), value.as_deref(), Deadline::after(patience)).await
                };
                try_join_all(locks.iter().zip(values).map(remove)).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}
