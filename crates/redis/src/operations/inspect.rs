//! Who holds a resource, and who waits for it.

use std::sync::LazyLock;

use lock_inc_core::{Inspection, Resource, Waiter, error::Result, store::Deadline};
use redis::{Cmd, Value};

use super::{contention, decode};
use crate::{
    Redis,
    script::{LuaScript, script},
};

static INSPECT: LazyLock<LuaScript> = script!(5, "shared/word", "inspect");

impl Redis {
    pub(crate) async fn inspect(
        &self,
        resource: &Resource,
        deadline: Deadline,
    ) -> Result<Option<Inspection>> {
        let keys = self.keys.of(resource);
        let fill = |command: &mut Cmd| {
            command.arg(keys.lock()).arg(keys.clients()).arg(keys.queue());
        };
        let mut fields: Vec<Value> = decode(self.run(&INSPECT, 3, fill, deadline).await?.value)?;
        let queue = fields.split_off(fields.len().min(3));
        let (count, left, record): (u64, i64, String) = decode(Value::Array(fields))?;
        let queue: Vec<(u64, String)> = decode(Value::Array(queue))?;
        let mut holding = (count > 0).then(|| contention(count, left, &record, 0));
        self.find_holder(holding.as_mut(), deadline).await;
        let inspection = Inspection {
            holding,
            waiters: queue.iter().filter_map(|(ticket, member)| Waiter::parse(*ticket, member)).collect(),
        };
        Ok((inspection.holding.is_some() || !inspection.waiters.is_empty()).then_some(inspection))
    }

    /// Whether anybody holds the resource.
    pub(crate) async fn is_locked(&self, resource: &Resource, deadline: Deadline) -> Result<bool> {
        let keys = self.keys.of(resource);
        let exists = |command: &mut Cmd| {
            command.arg("EXISTS").arg(keys.lock());
        };
        decode(self.call(exists, deadline).await?)
    }
}
