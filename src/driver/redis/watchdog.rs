//! Sees to it that answers are read also while the thread that should do it is busy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::socket::Watcher;

/// For so long at the most an answer is left to the other thread.
const PATIENCE: Duration = Duration::from_millis(10);

/// Looks at the sockets of a watcher itself, every [`PATIENCE`] while answers are awaited.
pub struct Watchdog {
    watcher: Arc<dyn Watcher>,
    /// Calls that have been made, and those whose answer has come.
    made: AtomicUsize,
    answered: AtomicUsize,
    /// It has nothing to do until it is notified.
    asleep: AtomicBool,
    wake: Notify,
}

/// An answer that is awaited.
pub struct Awaited<'a>(&'a Watchdog);

impl Watchdog {
    /// Must be called on the runtime.
    pub fn start(watcher: Arc<dyn Watcher>, closed: CancellationToken) -> Arc<Self> {
        let watchdog = Arc::new(Self {
            watcher,
            made: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            wake: Notify::new(),
        });
        let watching = watchdog.clone();
        tokio::spawn(async move { closed.run_until_cancelled(watching.watch()).await });
        watchdog
    }

    pub fn await_answer(&self) -> Awaited<'_> {
        self.made.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            self.wake.notify_one();
        }
        Awaited(self)
    }

    pub fn look(&self) {
        self.watcher.look();
    }

    async fn watch(&self) {
        let mut seen = 0;
        loop {
            sleep(PATIENCE).await;
            let answered = self.answered.load(Ordering::SeqCst);
            let made = self.made.load(Ordering::SeqCst);
            if made != answered {
                // Where answers come one after the other, somebody reads them.
                if answered == seen {
                    self.look();
                }
            } else if made == seen {
                // Nothing has happened for a while. Whoever calls from here on either sees this or is seen.
                self.asleep.store(true, Ordering::SeqCst);
                if self.made.load(Ordering::SeqCst) == made {
                    self.wake.notified().await;
                }
                self.asleep.store(false, Ordering::SeqCst);
            }
            seen = answered;
        }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::SeqCst);
    }
}
