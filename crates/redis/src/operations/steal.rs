//! Takes a resource from whoever holds it.

use std::{sync::LazyLock, time::Duration};

use lock_inc_core::{
    error::{Error, Result},
    store::{Attempt, Deadline, Grant},
};
use redis::{Cmd, Value};
use tokio::time::{sleep, timeout_at};

use super::{decode, in_ms};
use crate::{
    Redis,
    keys::LockKeys,
    link::Member,
    script::{LuaScript, script},
    server_clock::Told,
    topology::call::Reply,
};

static STEAL: LazyLock<LuaScript> = script!(
    8,
    "shared/clock",
    "shared/word",
    "shared/records",
    "shared/clients",
    "shared/holders",
    "shared/lease",
    "shared/queue",
    "shared/loss",
    "steal"
);

/// So often others may have come between the look and the command. From then on it takes the lock from whoever has it: where it goes
/// from hand to hand, there would be no end.
const MOST_MISSES: u32 = 3;

/// Before it is tried again where somebody else has come meanwhile.
const PAUSE: Duration = Duration::from_millis(1);

impl Redis {
    /// Takes the lock from those who have it, of whom each is named: sent again, the command takes it from nobody who came
    /// later. Where others have come it looks who they are, until the deadline.
    pub(super) async fn steal(
        &self,
        attempt: &Attempt,
        keys: &LockKeys<'_>,
        deadline: Deadline,
    ) -> Result<Grant> {
        // Where the time is over before, what follows says so.
        let _turn = timeout_at(deadline.at, self.stealing.lock()).await;
        let mut was_sent = false;
        for misses in 0u32.. {
            let seen = self.see(keys, deadline).await;
            let holders = seen.map_err(|error| if was_sent { error.after_sending() } else { error })?.holders;
            let arguments = |command: &mut Cmd, _: &Member| {
                command.arg(attempt.nonce.number()).arg(in_ms(attempt.terms.lease));
                command
                    .arg(self.keys.channels())
                    .arg(if misses < MOST_MISSES { "" } else { "*" })
                    .arg(&holders);
            };
            let reply = self.run_with_queue(&STEAL, keys, arguments, deadline).await?;
            let Reply { value, sent, member, connection, .. } = reply;
            was_sent = true;
            if value != Value::Nil {
                let token: u64 = decode(value)?;
                member.clock.on_token(connection, token, Told::Lifted, sent, || self.seats.now());
                return Ok(Grant { token, sent });
            }
            // At the deadline the next look says what there is to say.
            sleep(PAUSE.min(deadline.left())).await;
        }
        Err(Error::Internal)
    }
}
