//! The Lua scripts, and how they are called: by SHA, or with their source where the server may not know them. Which of the
//! two it is `link/connection/sending.rs` decides, and `link/call.rs` sends again what the server has forgotten.

use redis::{Cmd, Script};

use crate::resp;

/// A script and its SHA-1.
pub(crate) struct LuaScript {
    source: &'static str,
    sha: String,
    bit: u32,
}

impl LuaScript {
    pub(crate) fn new(number: u32, source: &'static str) -> Self {
        Self { source, sha: Script::new(source).get_hash().to_owned(), bit: 1 << number }
    }

    /// A bit of its own, for sets of scripts.
    pub(crate) fn bit(&self) -> u32 {
        self.bit
    }

    /// Whether it may call this command.
    pub(crate) fn calls(&self, command: &str) -> bool {
        self.source.contains(&format!("call('{command}'"))
    }

    /// Begins the same as [`write`](Self::write) in bytes, where so many keys and arguments are to follow.
    pub(crate) fn begin(&self, out: &mut Vec<u8>, with_source: bool, keys: usize, arguments: usize) {
        resp::begin(out, 3 + keys + arguments);
        let [name, script] = if with_source { ["EVAL", self.source] } else { ["EVALSHA", &self.sha] };
        resp::word(out, name.as_bytes());
        resp::word(out, script.as_bytes());
        resp::decimal(out, keys as u64);
    }

    /// Begins an `EVALSHA`, or, with the source, an `EVAL`, which also leaves the script in the server's cache. So many
    /// keys and then the arguments are to follow.
    pub(crate) fn write(&self, command: &mut Cmd, with_source: bool, keys: usize) {
        if with_source {
            command.arg("EVAL").arg(self.source);
        } else {
            command.arg("EVALSHA").arg(&self.sha);
        }
        command.arg(keys);
    }
}

/// A script that is made of these files, in `operations/`. Each script has a number of its own, below 32.
macro_rules! script {
    ($number:literal, $($part:literal),+) => {
        LazyLock::new(|| LuaScript::new($number, concat!($(include_str!(concat!($part, ".lua"))),+)))
    };
}

pub(crate) use script;
