//! Sees to it that a connection is read and that its commands leave also while the thread that should do it is busy, and
//! notices when it has gone silent.

use std::{sync::Arc, time::Duration};

use lock_inc_core::error::Cause;
use lock_inc_exec::{activity::Activity, turn::Flush};
use tokio::time::{Instant, sleep};

use super::{Expectations, connection::Connection};

/// For so long at the most an answer is left to another thread.
const ANSWER: Duration = Duration::from_millis(10);

/// For so long at the most a message is.
const MESSAGE: Duration = Duration::from_millis(50);

/// If so many answers are awaited of a connection that is silent, it is ended, be it that there is no other one. What was
/// sent on it is kept for as long as there is no answer, though the calls have long come to their deadlines.
const MOST_AWAITED: usize = 50_000;

pub(crate) struct Vigil {
    activity: Activity,
    expectations: Arc<Expectations>,
}

impl Vigil {
    pub(crate) fn new(expectations: Arc<Expectations>) -> Self {
        Self { activity: Activity::new(), expectations }
    }

    /// A command was sent, or there is another reason to be awake.
    pub(crate) fn wake(&self) {
        self.activity.begin();
    }

    /// Looks after a connection, for ever. `patience`: see [`Connection::drive`].
    pub(crate) async fn keep(&self, connection: &Connection, patience: Duration) {
        let (mut heard, mut active) = (connection.heard(), self.activity.begun());
        let mut quiet_since = Instant::now();
        loop {
            // Where the runtime reads by itself, messages need nobody's care.
            let expects = connection.is_watched() && self.expectations.any();
            let awaits = connection.awaited() > 0;
            let active_now = self.activity.begun();
            if !awaits && !expects && active_now == active {
                // Nothing has happened for a while.
                self.activity.begun_since(active).await;
                quiet_since = Instant::now();
            }
            active = active_now;
            let tick = if awaits || !expects { ANSWER } else { MESSAGE };
            let before = Instant::now();
            sleep(tick).await;
            if connection.is_watched() && connection.heard() == heard {
                connection.try_read();
            }
            // What was called in a turn that has not come to its end.
            connection.flush();
            let now = Instant::now();
            // A process that was stopped knows nothing of the time meanwhile.
            let stood_still = now - before > tick * 10;
            let awaited = connection.awaited();
            if awaited == 0 || connection.heard() != heard || stood_still {
                quiet_since = now;
            } else if now - quiet_since >= patience {
                if awaited > MOST_AWAITED {
                    let silence = patience.as_millis();
                    connection.end(Cause::new("ETIMEDOUT", format!("no reply within {silence} ms")));
                }
                connection.on_silence(heard);
                quiet_since = now;
            }
            heard = connection.heard();
        }
    }
}
