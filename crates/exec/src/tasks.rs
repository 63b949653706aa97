//! Starts tasks, and runs those that this thread has woken.

pub use async_task::Runnable;
use futures_util::FutureExt;
use tokio::runtime::Handle;

use crate::local::{self, Assistance};

/// Starts a task: on this thread if it [assists](assist), in the order of the calls, and else on the runtime. A panic
/// ends the task and nothing else.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// use std::{sync::mpsc, thread};
///
/// let (sender, receiver) = mpsc::channel();
/// lock_inc_exec::assist(runtime.handle(), || {
///     lock_inc_exec::spawn(runtime.handle(), async move {
///         sender.send(thread::current().id()).unwrap();
///     });
/// });
/// assert_eq!(receiver.try_recv(), Ok(thread::current().id()));
/// ```
pub fn spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
    let runtime = runtime.clone();
    // A runtime that has been shut down drops the task.
    spawn_or(move |task| drop(runtime.spawn(async move { _ = task.run() })), work);
}

/// Starts a task that goes `elsewhere` whenever the thread that wakes it does not assist.
pub fn spawn_or(
    elsewhere: impl Fn(Runnable) + Send + Sync + 'static,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let schedule = move |task| {
        if let Err(task) = local::push(task) {
            elsewhere(task);
        }
    };
    // Fused, it is dropped by the poll that completes it, where its destructor may panic: `async-task` would abort.
    let (task, handle) = async_task::spawn(work.fuse(), schedule);
    handle.detach();
    task.schedule();
}

/// Runs `begin`, then all tasks that this thread has woken, until none is left to be polled, and then what they have
/// [put off](crate::turn), unless a turn has begun. An inner call runs `begin` only, and leaves the rest to the
/// outermost.
pub fn assist<T>(runtime: &Handle, begin: impl FnOnce() -> T) -> T {
    let _on_runtime = runtime.enter();
    assist_here(begin)
}

/// The same for tasks that need no runtime.
pub fn assist_here<T>(begin: impl FnOnce() -> T) -> T {
    let _outermost = Assistance::begin();
    begin()
}

#[cfg(test)]
mod tests;
