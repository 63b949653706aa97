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
            try_join_all(
                locks
                    .into_iter()
                    .map(async |lock| self.remove(&self.keys.of_lock(lock), Deadline::after(patience)).await),
            )
            .await?;
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}
