//! The end of a locker.

use std::sync::Arc;

use futures_util::future::{
    Either::{Left, Right},
    ready,
};
use tokio::{sync::OnceCell, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Locker;
use crate::error::{Error, Result};

/// Whether a locker is open, closing or closed, and what is still under way. It goes forward only, however often it is
/// closed.
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    begun: CancellationToken,
    /// Calls that a caller waits for.
    calls: TaskTracker,
    /// Releases that nobody waits for.
    cancels: TaskTracker,
    complete: OnceCell<()>,
}

impl Shutdown {
    fn begin(&self) {
        self.begun.cancel();
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Waits until it has.
    pub(super) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Nothing that was asked for is under way any more, and the store is closed.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.initialized()
    }

    pub(super) fn track<F: Future>(&self, call: F) -> impl Future<Output = F::Output> + use<F> {
        self.calls.track_future(call)
    }

    pub(super) fn spawn_cancel(&self, cancel: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.cancels.spawn(cancel)
    }

    /// Calls first: each may leave a cancel behind.
    async fn wait_for_all(&self) {
        for tasks in [&self.calls, &self.cancels] {
            tasks.close();
            tasks.wait().await;
        }
    }
}

impl Locker {
    /// Wraps a call so that [`close`](Self::close) waits for it, and so that none starts after it.
    pub fn call<T, F>(&self, call: F) -> impl Future<Output = Result<T>> + use<T, F>
    where
        F: Future<Output = Result<T>>,
    {
        // Not an async block: that would keep room for `call` twice.
        let call = if self.shutdown.has_begun() { Left(ready(Err(Error::Closed))) } else { Right(call) };
        self.shutdown.track(call)
    }

    /// Lets what is in flight settle, then ends the connection. Whoever waits for a lock or for a connection is told
    /// at once that the locker is closed, and leaves the queue. Held locks stay until their leases end, as in lock-inc
    /// 1.2.0.
    ///
    /// From this call on, not from when the future is polled, other calls are refused.
    pub fn close(self: Arc<Self>) -> impl Future<Output = ()> {
        self.shutdown.begin();
        self.send_waiters_away();
        async move {
            let shut_down = || async {
                self.store.begin_close();
                self.shutdown.wait_for_all().await;
                self.complete_leases().await;
                self.store.close().await;
            };
            self.shutdown.complete.get_or_init(shut_down).await;
            self.alarm.ring();
        }
    }
}
