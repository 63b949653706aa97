//! What the nodes of a cluster say of its slots.

use std::ops::RangeInclusive;

use redis::{Value, from_redis_value};

use crate::config::Address;

/// The answer to `CLUSTER SLOTS`, which servers of all versions know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotTable {
    /// Slots, and the primary that serves them, as the cluster names it.
    pub(crate) ranges: Vec<(RangeInclusive<u16>, Address)>,
    /// All replicas.
    pub(crate) replicas: Vec<Address>,
}

impl SlotTable {
    /// `asked`: the host of the node that has answered, which does not know by which name it is reached. Nodes whose host is not
    /// known are left out.
    pub(crate) fn read(answer: Value, asked: &str) -> Option<Self> {
        let Value::Array(shards) = answer else { return None };
        let mut table = Self::default();
        for shard in shards {
            let Value::Array(fields) = shard else { return None };
            let mut fields = fields.into_iter();
            let mut slot = || read_number(fields.next()?);
            let slots = slot()?..=slot()?;
            let mut nodes = fields.map(|node| read_node(node, asked));
            if let Some(primary) = nodes.next().flatten() {
                table.ranges.push((slots, primary));
            }
            table.replicas.extend(nodes.flatten());
        }
        Some(table)
    }
}

fn read_number(value: Value) -> Option<u16> {
    from_redis_value::<i64>(value).ok()?.try_into().ok()
}

/// `[host, port, id, ...]`. None: where it is is not known.
fn read_node(node: Value, asked: &str) -> Option<Address> {
    let Value::Array(fields) = node else { return None };
    let mut fields = fields.into_iter();
    let host: Option<String> = from_redis_value(fields.next()?).ok()?;
    let port = read_number(fields.next()?)?;
    let host = match host.as_deref() {
        Some("?") => return None,
        None | Some("") => asked,
        Some(host) => host,
    };
    (port > 0).then(|| Address { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(Vec::new())])
    }

    fn shard(begin: i64, end: i64, nodes: Vec<Value>) -> Value {
        Value::Array([Value::Int(begin), Value::Int(end)].into_iter().chain(nodes).collect())
    }

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    #[test]
    fn a_node_without_a_host_is_the_one_that_was_asked_and_one_of_an_unknown_host_is_left_out() {
        let answer = Value::Array(vec![
            shard(0, 5460, vec![node(text("10.0.0.1"), 7000), node(text("10.0.0.4"), 7003)]),
            shard(5461, 10_922, vec![node(Value::Nil, 7001), node(text("?"), 7004)]),
            shard(10_923, 16_382, vec![node(text(""), 7002)]),
            shard(16_383, 16_383, vec![node(text("?"), 7005), node(text("10.0.0.5"), 7006)]),
        ]);
        let ranges = vec![
            (0..=5460, address("10.0.0.1", 7000)),
            (5461..=10_922, address("me", 7001)),
            (10_923..=16_382, address("me", 7002)),
        ];
        let replicas = vec![address("10.0.0.4", 7003), address("10.0.0.5", 7006)];
        assert_eq!(SlotTable::read(answer, "me"), Some(SlotTable { ranges, replicas }));
    }

    #[test]
    fn what_is_no_slot_table_is_none() {
        for answer in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![shard(0, 99_999, vec![node(text("a"), 1)])]),
            Value::Array(vec![Value::Array(vec![text("x"), Value::Int(1), node(text("a"), 1)])]),
        ] {
            assert_eq!(SlotTable::read(answer.clone(), "me"), None, "{answer:?}");
        }
        for shards in [vec![], vec![shard(0, 16_383, vec![])], vec![shard(0, 1, vec![node(text("a"), -1)])]] {
            assert_eq!(SlotTable::read(Value::Array(shards), "me"), Some(SlotTable::default()));
        }
    }
}
