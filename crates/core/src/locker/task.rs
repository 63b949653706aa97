//! The locker's own task: it looks after what is held and what waits.

use std::sync::Arc;

use super::{Event, Locker};
use crate::Moment;

impl Locker {
    /// Looks after holds and waiting calls, until the locker is closed and nothing is held or nobody listens.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            self.alarm.wait(&self.timer, || self.next_due()).await;
            self.poll_due();
            self.renew_due(self.now());
            // Whoever closes rings the alarm.
            if self.shutdown.is_complete() && (self.held.is_empty() || !self.listener.tell(Event::Alive)) {
                self.listener.tell(Event::Ended);
                return;
            }
        }
    }

    fn next_due(&self) -> Option<Moment> {
        // One after the other: whoever has both locks takes that of the waiters first.
        let of_holds = self.held.next_due();
        let of_waiters = self.waiting.next_due();
        of_holds.into_iter().chain(of_waiters).min()
    }
}
