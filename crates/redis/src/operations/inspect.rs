//! Who holds a resource, and who waits for it.

use std::{sync::LazyLock, time::Duration};

use futures_util::future::{join_all, try_join_all};
use lock_inc_core::{Holder, Holding, Inspection, Resource, Waiter, error::Result, store::Deadline};
use redis::Cmd;

use super::decode;
use crate::{
    Redis,
    keys::LockKeys,
    link::Member,
    script::{LuaScript, script},
};

static INSPECT: LazyLock<LuaScript> =
    script!(5, "shared/several", "shared/word", "shared/records", "inspect");

/// As the script returns them.
type InspectedFields = (u64, Vec<(String, i64)>, Vec<(u64, String)>);

impl Redis {
    pub(crate) async fn inspect(
        &self,
        resource: &Resource,
        deadline: Deadline,
    ) -> Result<Option<Inspection>> {
        let inspected = self.inspect_all(std::slice::from_ref(resource), deadline).await?;
        Ok(inspected.into_iter().next().flatten())
    }

    /// Looks at all these, in one step where they are in one slot. Each answer is that about the resource in its place.
    pub(super) async fn inspect_all(
        &self,
        resources: &[Resource],
        deadline: Deadline,
    ) -> Result<Vec<Option<Inspection>>> {
        let keys: Vec<_> = resources.iter().map(|resource| self.keys.of(resource)).collect();
        // One step is at one slot.
        let steps = keys.chunks(if self.keys.are_scattered() { 1 } else { keys.len().max(1) });
        let steps = steps.map(|keys| self.inspect_step(keys, deadline));
        Ok(try_join_all(steps).await?.into_iter().flatten().collect())
    }

    async fn inspect_step(
        &self,
        keys: &[LockKeys<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Option<Inspection>>> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        let fill = |command: &mut Cmd, _: &Member| {
            for keys in keys {
                command.arg(keys.lock()).arg(keys.clients()).arg(keys.holders()).arg(keys.queue());
            }
        };
        let reply = self.run(first.lock(), &INSPECT, 4 * keys.len(), fill, deadline).await?;
        let all: Vec<InspectedFields> = decode(reply.value)?;
        Ok(join_all(all.into_iter().map(|fields| self.inspection(fields, deadline))).await)
    }

    async fn inspection(
        &self,
        (count, holders, queue): InspectedFields,
        deadline: Deadline,
    ) -> Option<Inspection> {
        let holding = |(record, left): &(String, i64)| Holding {
            holder: Holder::parse(record),
            lease_left: Duration::from_millis(u64::try_from(*left).unwrap_or(0)),
        };
        let mut holders: Vec<_> = holders.iter().map(holding).collect();
        let found = holders.iter_mut().map(|holding| self.find_holder(holding.holder.as_mut(), deadline));
        join_all(found).await;
        let waiters: Vec<_> =
            queue.iter().filter_map(|(ticket, member)| Waiter::parse(*ticket, member)).collect();
        let is_known = !holders.is_empty() || !waiters.is_empty();
        is_known.then_some(Inspection { holders, count, waiters })
    }

    /// Whether anybody holds the resource.
    pub(crate) async fn is_locked(&self, resource: &Resource, deadline: Deadline) -> Result<bool> {
        let keys = self.keys.of(resource);
        let exists = |command: &mut Cmd| {
            command.arg("EXISTS").arg(keys.lock());
        };
        decode(self.call(keys.lock(), exists, deadline).await?)
    }
}
