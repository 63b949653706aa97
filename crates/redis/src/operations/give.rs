//! Gives up locks that nobody has come for: the commonest case of `release`, for all calls of a turn at once.

use std::sync::LazyLock;

use lock_inc_core::{Nonce, error::Result, store::Deadline};
use redis::Value;

use super::{release::RELEASE, untouched};
use crate::{
    Redis,
    keys::LockKeys,
    link::{Calls, Command, Gathered, Part},
    resp,
    script::{LuaScript, script},
    topology::call::Reply,
};

static GIVE: LazyLock<LuaScript> = script!(7, "give");

struct Gives;

impl Calls for Gives {
    fn name(&self) -> &'static str {
        "give"
    }

    fn script(&self) -> Option<&'static LuaScript> {
        Some(&GIVE)
    }

    fn write(&self, gathered: &Gathered, with_source: bool, out: &mut Vec<u8>) {
        let Gathered { calls, first: locks, second: words, .. } = gathered;
        GIVE.begin(out, with_source, *calls, *calls);
        out.extend_from_slice(locks);
        out.extend_from_slice(words);
    }

    fn is_sent_once(&self) -> bool {
        false
    }

    fn replies(&self, _calls: usize) -> usize {
        1
    }

    /// Of each 1, or 0 if `release` has to see to it.
    fn answers(&self, reply: Value, calls: usize) -> Option<Vec<Value>> {
        match reply {
            Value::Array(replies) => (replies.len() == calls).then_some(replies),
            Value::Int(_) => (calls == 1).then(|| vec![reply]),
            _ => None,
        }
    }
}

impl Redis {
    /// The answer is 1, or 0 if `release` has to see to it.
    pub(super) async fn give(&self, nonce: Nonce, keys: &LockKeys<'_>, deadline: Deadline) -> Result<Reply> {
        let part = Part {
            kind: &Gives,
            script: &RELEASE,
            common: keys.fence(),
            add: &|Gathered { first, second, .. }, _| {
                resp::word(first, keys.lock().as_bytes());
                resp::decimal(second, untouched(nonce));
            },
        };
        let place = self.seats.place_of(keys.lock());
        self.seats.call(&place, Command::Part(&part), deadline).await
    }
}
