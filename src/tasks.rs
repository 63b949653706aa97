//! Tasks that run where they are woken.
//!
//! A task of tokio's runs on the runtime's thread, whoever wakes it, so a call from another thread costs two changes of
//! thread, there and back, which is as much as all the rest. A task of this module is polled by the thread that wakes
//! it, if that thread [assists](assist) at the moment, and else by the runtime. So a thread of JavaScript that
//! assists sends a command by itself, and reads the answer by itself if it is the first to notice it; while it is
//! busy with something else, the runtime does all that.

use std::{
    cell::RefCell,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::runtime::Handle;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// Tasks that wait for this thread, while it assists.
    static ASSISTING: RefCell<Option<VecDeque<Arc<Task>>>> = const { RefCell::new(None) };
}

struct Task {
    /// Polled by one thread at a time, as `state` has it. `None` when it is done.
    work: Mutex<Option<Work>>,
    state: AtomicU8,
    runtime: Handle,
}

/// Nothing to do.
const IDLE: u8 = 0;
/// Some thread will poll it.
const SCHEDULED: u8 = 1;
/// Some thread polls it.
const RUNNING: u8 = 2;
/// The same, and it was woken meanwhile.
const AGAIN: u8 = 3;

/// Starts a task: at once if this thread assists, else on the runtime. A panic ends the task and nothing else.
pub fn spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
    let work = Mutex::new(Some(Box::pin(work) as Work));
    Arc::new(Task { work, state: AtomicU8::new(SCHEDULED), runtime: runtime.clone() }).dispatch();
}

/// Runs `begin`, and then all tasks that this thread has woken, until none is left to be polled. Between
/// [`gather`] and [`finish`] they are left for the latter.
pub fn assist<T>(runtime: &Handle, begin: impl FnOnce() -> T) -> T {
    let _on_runtime = runtime.enter();
    let outermost = gather();
    let result = begin();
    if outermost {
        finish(runtime);
    }
    result
}

/// From now on, tasks that this thread wakes wait for [`finish`], which runs them together: what they have to send goes
/// out in one piece. `false` if they have been waiting already.
pub fn gather() -> bool {
    ASSISTING.with_borrow_mut(|tasks| {
        let outermost = tasks.is_none();
        tasks.get_or_insert_default();
        outermost
    })
}

/// Whether tasks that this thread wakes wait for [`finish`].
pub fn are_gathered() -> bool {
    ASSISTING.with_borrow(Option::is_some)
}

/// How many do.
pub fn gathered() -> usize {
    ASSISTING.with_borrow(|tasks| tasks.as_ref().map_or(0, VecDeque::len))
}

/// Polls all tasks that this thread has woken, until none is left.
pub fn finish(runtime: &Handle) {
    let _on_runtime = runtime.enter();
    while let Some(task) = ASSISTING.with_borrow_mut(|tasks| tasks.as_mut()?.pop_front()) {
        task.run();
    }
    ASSISTING.set(None);
}

impl Task {
    fn dispatch(self: Arc<Self>) {
        let mut task = Some(self);
        ASSISTING.with_borrow_mut(|tasks| {
            if let Some(tasks) = tasks {
                tasks.extend(task.take());
            }
        });
        if let Some(task) = task {
            let runtime = task.runtime.clone();
            runtime.spawn(async move { task.run() });
        }
    }

    fn run(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut context = Context::from_waker(&waker);
        // Nobody else polls it: whoever wakes it from here on leaves a note.
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.state.store(RUNNING, Ordering::Release);
            let Some(present) = work.as_mut() else { return };
            let poll = catch_unwind(AssertUnwindSafe(|| present.as_mut().poll(&mut context)));
            if !matches!(poll, Ok(Poll::Pending)) {
                *work = None;
                return;
            }
            let (now, next) = (Ordering::AcqRel, Ordering::Acquire);
            if self.state.compare_exchange(RUNNING, IDLE, now, next).is_ok() {
                return;
            }
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let note = |state| match state {
            IDLE => Some(SCHEDULED),
            RUNNING => Some(AGAIN),
            _ => None,
        };
        if self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, note) == Ok(IDLE) {
            self.dispatch();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc,
        thread::{self, ThreadId},
    };

    use tokio::{runtime::Builder, sync::oneshot};

    use super::*;

    fn in_runtime(test: impl FnOnce(&Handle, ThreadId)) {
        let runtime = Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = thread::spawn(move || drop(runtime.block_on(stopped)));
        test(&handle, worker.thread().id());
        drop(stop);
        worker.join().unwrap();
    }

    /// Starts a task that waits for a value and tells in which threads it ran before and after.
    fn waiting(runtime: &Handle) -> (oneshot::Sender<()>, mpsc::Receiver<ThreadId>) {
        let (wake, woken) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        spawn(runtime, async move {
            tell.send(thread::current().id()).unwrap();
            woken.await.unwrap();
            tell.send(thread::current().id()).unwrap();
        });
        (wake, told)
    }

    #[test]
    fn a_task_runs_in_the_thread_that_wakes_it_if_that_assists_and_else_on_the_runtime() {
        in_runtime(|runtime, worker| {
            let here = thread::current().id();
            let (wake, told) = assist(runtime, || waiting(runtime));
            assert_eq!(told.try_recv(), Ok(here));
            assist(runtime, || wake.send(()).unwrap());
            assert_eq!(told.try_recv(), Ok(here));

            let (wake, told) = waiting(runtime);
            assert_eq!(told.recv(), Ok(worker));
            wake.send(()).unwrap();
            assert_eq!(told.recv(), Ok(worker));
        });
    }

    #[test]
    fn tasks_that_are_gathered_run_when_that_is_finished() {
        in_runtime(|runtime, _| {
            let here = thread::current().id();
            assert!(!are_gathered() && gather() && are_gathered());
            let (_wake, first) = assist(runtime, || waiting(runtime));
            let (_wake, second) = assist(runtime, || waiting(runtime));
            assert!(first.try_recv().is_err() && second.try_recv().is_err());
            assert_eq!(gathered(), 2);
            finish(runtime);
            assert_eq!((first.try_recv(), second.try_recv()), (Ok(here), Ok(here)));
        });
    }

    #[test]
    fn a_task_that_is_woken_while_it_runs_runs_again() {
        in_runtime(|runtime, _| {
            let (sender, receiver) = mpsc::channel();
            let mut left = 1000;
            let count = std::future::poll_fn(move |context| {
                left -= 1;
                if left == 0 {
                    return Poll::Ready(());
                }
                let waker = context.waker().clone();
                if left % 2 == 0 {
                    waker.wake();
                } else {
                    thread::spawn(move || waker.wake());
                }
                Poll::Pending
            });
            spawn(runtime, async move {
                count.await;
                sender.send(()).unwrap();
            });
            receiver.recv().unwrap();
        });
    }

    #[test]
    fn a_panic_ends_its_task_only() {
        in_runtime(|runtime, _| {
            let (sender, receiver) = mpsc::channel::<()>();
            assist(runtime, || {
                spawn(runtime, async move {
                    let _dropped = sender;
                    panic!("as it should");
                });
            });
            assert!(receiver.recv().is_err());
            assist(runtime, || spawn(runtime, async {}));
        });
    }
}
