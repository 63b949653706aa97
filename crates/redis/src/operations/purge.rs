//! Removes every lock under the prefix.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::{join_all, try_join_all};
use lock_inc_core::{
    error::{Limit, Result},
    store::Deadline,
};
use redis::Cmd;

use super::decode;
use crate::{
    Redis,
    topology::{Place, Seat},
};

/// Keys that one `SCAN` looks at.
const PAGE: usize = 1000;

impl Redis {
    pub(crate) async fn purge(&self, patience: Limit) -> Result<()> {
        if self.seats.all().is_empty() {
            // It is not known yet which servers there are. Whatever is asked waits for that.
            let look = |command: &mut Cmd| {
                command.arg("EXISTS").arg(self.keys.index());
            };
            self.call(self.keys.index(), look, Deadline::after(patience)).await?;
        }
        loop {
            let (moves, seats) = (self.seats.moves(), self.seats.all());
            let each = seats.iter().map(|seat| self.purge_at(seat.clone(), patience));
            let result: Result<Vec<()>> = join_all(each).await.into_iter().collect();
            self.seats.refresh().await;
            // Slots that have moved meanwhile may have passed over to a server that had been looked at by then.
            if self.seats.moves() == moves {
                return result.map(drop);
            }
        }
    }

    async fn purge_at(&self, seat: Arc<Seat>, patience: Limit) -> Result<()> {
        let (place, pattern) = (Place::At(seat), self.keys.pattern());
        let mut cursor = 0u64;
        loop {
            let scan = |command: &mut Cmd| {
                command.arg("SCAN").arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PAGE);
            };
            let (next, page): (u64, Vec<Vec<u8>>) =
                decode(self.call_at(&place, scan, Deadline::after(patience)).await?)?;
            // All that belongs to a lock goes in one step, whichever of its keys the page has.
            let locks: BTreeSet<_> = page.iter().filter_map(|key| self.keys.lock_of(key)).collect();
            let values = self.values_of(&locks.iter().copied().collect::<Vec<_>>(), patience).await?;
            let remove = async |(lock, value): (&&str, Option<Vec<u8>>)| {
                self.remove(&self.keys.of_lock(lock), value.as_deref(), Deadline::after(patience)).await
            };
            try_join_all(locks.iter().zip(values).map(remove)).await?;
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn values_of(&self, locks: &[&str], patience: Limit) -> Result<Vec<Option<Vec<u8>>>> {
        // One command is for one slot.
        let steps = locks.chunks(if self.keys.are_scattered() { 1 } else { PAGE });
        let values = steps.map(async |locks| {
            let look = |command: &mut Cmd| {
                command.arg("MGET").arg(locks);
            };
            decode::<Vec<_>>(self.call(locks[0], look, Deadline::after(patience)).await?)
        });
        Ok(try_join_all(values).await?.into_iter().flatten().collect())
    }
}
