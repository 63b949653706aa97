//! What the user of a connection may not run of that which the scripts need.

use std::sync::LazyLock;

use lock_inc_core::error::{Cause, Refusal};
use redis::{Cmd, Value, from_redis_value};

use crate::{
    refusal::{self, RefusalKind},
    script::{LuaScript, script},
};

static PERMISSIONS: LazyLock<LuaScript> = script!(6, "permissions");

/// What comes behind the prefix in the name of the key that is tried.
const KEY: &str = "lock-inc:permissions";

/// Commands that are forbidden. Empty is also what is not known, of a server that is loading for one: then the scripts
/// find out.
#[derive(Debug, Default)]
pub(crate) struct Forbidden(Vec<String>);

impl Forbidden {
    /// Both ways to run a script, each of which may be forbidden. `prefix`: what the keys begin with that the user may use.
    /// `in_cluster`: then the key is none of the script's, as each node is asked, whichever serves the key. Those that do not
    /// say so after they have looked whether the command is allowed.
    pub(crate) fn trials(prefix: &str, in_cluster: bool) -> Vec<Cmd> {
        let trial = |with_source| {
            let mut command = Cmd::new();
            PERMISSIONS.write(&mut command, with_source, usize::from(!in_cluster));
            command.arg([prefix, KEY].concat()).take()
        };
        vec![trial(true), trial(false)]
    }

    /// Adds what the answer to one of the trials says.
    pub(crate) fn add(&mut self, answer: Value) {
        match answer {
            Value::ServerError(error) => self.0.extend(refusal::forbidden_command(&error)),
            commands => self.0.extend(from_redis_value::<Vec<String>>(commands).unwrap_or_default()),
        }
    }

    /// Why a script is not to be sent, if it is not.
    pub(crate) fn refusal(&self, script: &LuaScript, unanswered: bool) -> Option<Refusal> {
        let command = self.0.iter().find(|command| command.starts_with("EVAL") || script.calls(command))?;
        let said = format_args!("NOPERM this user has no permissions to run the '{command}' command");
        Some(RefusalKind::NoPerm.refusal(Cause::new("NOPERM", said), unanswered))
    }
}
