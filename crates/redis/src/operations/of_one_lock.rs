//! Calls of one turn about one lock that differ in nothing but their nonces: they leave as one call of their script, which
//! is given the nonces of all.

use std::{fmt::Display, sync::LazyLock};

use lock_inc_core::Nonce;
use redis::Value;

use crate::{
    keys::LockKeys,
    link::{Calls, Gathered},
    resp,
    script::LuaScript,
};

/// What the calls of a script have in common, beside the lock.
pub(super) struct OfOneLock {
    pub(super) name: &'static str,
    pub(super) script: &'static LazyLock<LuaScript>,
    /// How many there are, the first nonce included, before the other nonces.
    pub(super) arguments: usize,
}

/// Of each lock: see `docs/protocol.md`.
const KEYS: usize = 5;

impl Calls for OfOneLock {
    fn name(&self) -> &'static str {
        self.name
    }

    fn lock<'a>(&self, common: &'a str) -> Option<&'a str> {
        common.split_once(' ').map(|(_, lock)| lock)
    }

    fn script(&self) -> Option<&'static LuaScript> {
        Some(self.script)
    }

    fn write(&self, gathered: &Gathered, with_source: bool, out: &mut Vec<u8>) {
        let Gathered { calls, first, second: other_nonces, .. } = gathered;
        self.script.begin(out, with_source, KEYS, self.arguments + calls - 1);
        out.extend_from_slice(first);
        out.extend_from_slice(other_nonces);
    }

    fn is_sent_once(&self) -> bool {
        false
    }

    fn replies(&self, _calls: usize) -> usize {
        1
    }

    /// Of several, a list of what there is to say to each.
    fn answers(&self, reply: Value, calls: usize) -> Option<Vec<Value>> {
        match reply {
            reply if calls == 1 => Some(vec![reply]),
            Value::Array(replies) => (replies.len() == calls).then_some(replies),
            _ => None,
        }
    }
}

/// What calls that leave together have in common: what they ask for, without a space, and the lock.
pub(super) fn common(asked: impl Display, keys: &LockKeys<'_>) -> String {
    format!("{asked} {}", keys.lock())
}

impl Gathered {
    /// Adds a call. `arguments` adds what it has in common with those that come with it.
    pub(super) fn add_nonce(
        &mut self,
        keys: &LockKeys<'_>,
        nonce: Nonce,
        arguments: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.calls > 0 {
            return resp::decimal(&mut self.second, nonce.number());
        }
        for key in [keys.lock(), keys.clients(), keys.holders(), keys.queue(), keys.fence()] {
            resp::word(&mut self.first, key.as_bytes());
        }
        resp::decimal(&mut self.first, nonce.number());
        arguments(&mut self.first);
    }
}

#[cfg(test)]
mod tests {
    use lock_inc_core::{Mode, Nonces, Resource};

    use super::*;
    use crate::{keys::Keys, script::script};

    static SCRIPT: LazyLock<LuaScript> = script!(0, "give");
    static CALLS: OfOneLock = OfOneLock { name: "call", script: &SCRIPT, arguments: 2 };

    #[test]
    fn the_nonces_of_all_come_behind_what_they_have_in_common() {
        let keys = Keys::new("a prefix:".into());
        let keys = keys.of(&Resource::new("abc"));
        let nonces = Nonces::new(7);
        let [first, second] = [(); 2].map(|()| nonces.next(Mode::shared(0), |_| false));
        let mut gathered = Gathered::default();
        for nonce in [first, second] {
            gathered.add_nonce(&keys, nonce, |arguments| resp::word(arguments, b"common"));
            gathered.calls += 1;
        }
        let mut out = Vec::new();
        CALLS.write(&gathered, false, &mut out);
        let mut command = redis::Cmd::new();
        SCRIPT.write(&mut command, false, 5);
        for key in [keys.lock(), keys.clients(), keys.holders(), keys.queue(), keys.fence()] {
            command.arg(key);
        }
        command.arg(first.number()).arg("common").arg(second.number());
        assert_eq!(out, command.get_packed_command());
    }

    #[test]
    fn calls_about_one_lock_are_known_as_such_whatever_is_asked() {
        let keys = Keys::new("a prefix:".into());
        let [one, other] = ["one", "other"].map(Resource::new);
        let [one, other] = [&one, &other].map(|resource| keys.of(resource));
        let lock_of = |common: &str| CALLS.lock(common).map(str::to_owned);
        assert_eq!(lock_of(&common(1, &one)), lock_of(&common("x/2", &one)));
        assert_eq!(lock_of(&common(1, &one)).as_deref(), Some(one.lock()));
        assert_ne!(lock_of(&common(1, &one)), lock_of(&common(1, &other)));
    }

    #[test]
    fn one_call_has_the_whole_reply_and_of_several_each_has_its_own() {
        let (one, two) = (Value::Int(1), Value::Array(vec![Value::Int(2), Value::Int(3)]));
        assert_eq!(CALLS.answers(two.clone(), 1), Some(vec![two.clone()]));
        assert_eq!(
            CALLS.answers(Value::Array(vec![one.clone(), two.clone()]), 2),
            Some(vec![one.clone(), two])
        );
        assert_eq!(CALLS.answers(one.clone(), 2), None);
        assert_eq!(CALLS.answers(Value::Array(vec![one]), 2), None);
    }
    /// Before anything of `shared/` is defined, which may not be named there, then.
    #[test]
    fn what_stands_in_front_of_the_scripts_has_the_constants_of_the_rest() {
        let constant = |source: &'static str, name: &str| {
            let (_, rest) = source.split_once(&format!("local {name} = ")).unwrap();
            rest.lines().next().unwrap().trim_matches('\'')
        };
        let [group, company] =
            ["GROUP", "COMPANY"].map(|name| constant(include_str!("shared/word.lua"), name));
        let alive = constant(include_str!("shared/clients.lua"), "ALIVE");
        let [acquire, release] = [include_str!("acquire_beside.lua"), include_str!("release_beside.lua")];
        for part in [&format!("'{group}000001'"), &format!("'{group}' .. "), &format!("% {company})")] {
            assert!(acquire.contains(part), "{part}");
        }
        assert!(release.contains(&format!("math.max(left, {alive})")));
        for source in [acquire, release] {
            assert!(source.contains(&format!("string.sub(value, 1, 4) == '{}'", &group[..4])));
        }
    }
}
