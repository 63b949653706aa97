//! The Lua scripts, and how they are called: by SHA, with the source sent along when the server does not know it.

use std::sync::LazyLock;

use redis::{Cmd, Script};

use super::connection::Form;

/// What there is room for in a new command: enough for what is called often.
const ARGUMENTS: usize = 16;
const BYTES: usize = 512;

/// A script and its SHA-1.
pub struct LuaScript {
    source: &'static str,
    sha: String,
}

impl LuaScript {
    fn new(source: &'static str) -> Self {
        Self { source, sha: Script::new(source).get_hash().to_owned() }
    }

    /// `EVALSHA`, or `EVAL`, which also leaves the script in the server's cache. `fill` adds keys and arguments.
    pub fn command(&self, form: Form, keys: usize, fill: impl Fn(&mut Cmd)) -> Cmd {
        let mut command = Cmd::with_capacity(ARGUMENTS, BYTES);
        match form {
            Form::Short => command.arg("EVALSHA").arg(&self.sha),
            Form::Whole => command.arg("EVAL").arg(self.source),
        };
        command.arg(keys);
        fill(&mut command);
        command
    }
}

macro_rules! script {
    ($($part:literal),+) => {
        LazyLock::new(|| LuaScript::new(concat!($(include_str!(concat!("scripts/", $part, ".lua"))),+)))
    };
}

pub static ACQUIRE: LazyLock<LuaScript> = script!("acquire_free", "clock", "owner", "queue", "acquire");
pub static POLL: LazyLock<LuaScript> = script!("clock", "owner", "queue", "poll");
pub static RELEASE: LazyLock<LuaScript> = script!("release_alone", "clock", "owner", "queue", "release");
pub static REMOVE: LazyLock<LuaScript> = script!("clock", "owner", "queue", "remove");
pub static RENEW: LazyLock<LuaScript> = script!("owner", "renew");
pub static INSPECT: LazyLock<LuaScript> = script!("owner", "inspect");
