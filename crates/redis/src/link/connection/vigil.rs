//! Sees to it that a connection is read and that its commands leave also while the thread that should do it is busy, and
//! notices when it has gone silent.

use std::{sync::Arc, time::Duration};

use lock_inc_core::error::Cause;
use lock_inc_exec::{activity::Activity, turn::Flush};
use tokio::time::{Instant, sleep, timeout};

use super::Connection;
use crate::link::Expectations;

/// For so long at the most an answer is left to another thread.
const ANSWER: Duration = Duration::from_millis(10);

/// For so long at the most a message is.
const MESSAGE: Duration = Duration::from_millis(50);

/// If so many answers are awaited of a connection that is silent, it is ended, even if there is no other one. What was
/// sent on it is kept for as long as there is no answer, though the calls have long come to their deadlines.
const MOST_AWAITED: usize = 50_000;

pub(super) struct Vigil {
    activity: Activity,
    expectations: Arc<Expectations>,
}

impl Vigil {
    pub(super) fn new(expectations: Arc<Expectations>) -> Self {
        Self { activity: Activity::new(), expectations }
    }

    /// A command was sent, or there is another reason to be awake.
    pub(super) fn wake(&self) {
        self.activity.begin();
    }
}

impl Connection {
    /// Looks after the connection, for ever. `patience`: see [`drive`](Self::drive).
    pub(super) async fn keep_vigil(&self, patience: Duration) {
        let Vigil { activity, expectations } = &self.vigil;
        let (mut heard, mut active) = (self.heard(), activity.begun());
        let mut quiet_since = Instant::now();
        loop {
            // Where the runtime reads by itself, messages need nobody's care.
            let expects = self.is_watched() && expectations.any();
            let awaits = self.awaited() > 0;
            let active_now = activity.begun();
            let is_idle = !awaits && active_now == active;
            if is_idle && !expects {
                // Nothing has happened for a while.
                activity.begun_since(active).await;
                quiet_since = Instant::now();
            }
            let before = Instant::now();
            // Who calls meanwhile does not wait for a message.
            let is_over = is_idle && expects && timeout(MESSAGE, activity.begun_since(active)).await.is_err();
            if !is_over {
                sleep(ANSWER).await;
            }
            active = active_now;
            if self.is_watched() && self.heard() == heard {
                self.try_read();
            }
            // What was called in a turn that has not come to its end.
            self.flush();
            let now = Instant::now();
            // A process that was stopped knows nothing of the time meanwhile.
            let stood_still = now - before > (MESSAGE + ANSWER) * 2;
            let awaited = self.awaited();
            if awaited == 0 || self.heard() != heard || stood_still {
                quiet_since = now;
            } else if now - quiet_since >= patience {
                if awaited > MOST_AWAITED {
                    let silence = patience.as_millis();
                    self.end(Cause::new("ETIMEDOUT", format!("no reply within {silence} ms")));
                }
                self.on_silence(heard);
                quiet_since = now;
            }
            heard = self.heard();
        }
    }
}
