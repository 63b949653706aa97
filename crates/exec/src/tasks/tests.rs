use std::{
    cell::RefCell,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread::{self, ThreadId},
    time::Duration,
};

use tokio::{runtime::Builder, sync::oneshot, time::sleep};

use super::*;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn in_runtime(test: impl FnOnce(&Handle, ThreadId)) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
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
        assert!(!local::assists());
        let (wake, told) = assist(runtime, || waiting(runtime));
        assert_eq!(told.try_recv(), Ok(here));
        assist(runtime, || wake.send(()).unwrap());
        assert_eq!(told.try_recv(), Ok(here));

        let (wake, told) = waiting(runtime);
        assert_eq!(told.recv_timeout(LONG), Ok(worker));
        wake.send(()).unwrap();
        assert_eq!(told.recv_timeout(LONG), Ok(worker));
        assert!(!local::assists());
    });
}

#[test]
fn tasks_are_polled_first_in_the_order_in_which_they_are_started() {
    in_runtime(|runtime, _| {
        let order = Arc::new(Mutex::new(Vec::new()));
        let start = |number: i32| {
            let order = order.clone();
            spawn(runtime, async move { order.lock().unwrap().push(number) });
        };
        assist(runtime, || (0..100).for_each(start));
        assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn an_inner_call_leaves_tasks_to_the_outermost() {
    in_runtime(|runtime, _| {
        let told = assist(runtime, || {
            let (wake, told) = assist(runtime, || waiting(runtime));
            assert!(told.try_recv().is_err());
            assist(runtime, || wake.send(()).unwrap());
            assert!(local::assists() && told.try_recv().is_err());
            told
        });
        assert_eq!(told.try_iter().count(), 2);
    });
}

#[test]
fn a_task_may_assist_and_start_tasks() {
    in_runtime(|runtime, _| {
        let (sender, receiver) = mpsc::channel();
        let inner = runtime.clone();
        assist(runtime, || {
            spawn(runtime, async move {
                assist(&inner, || {
                    let sender = sender.clone();
                    spawn(&inner, async move { sender.send("inner").unwrap() });
                });
                sender.send("outer").unwrap();
            });
        });
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["outer", "inner"]);
    });
}

#[test]
fn a_task_finds_the_runtime_wherever_it_runs() {
    in_runtime(|runtime, worker| {
        let (sender, receiver) = mpsc::channel();
        assist(runtime, || {
            spawn(runtime, async move {
                sleep(Duration::from_millis(1)).await;
                sender.send(thread::current().id()).unwrap();
            });
        });
        assert_eq!(receiver.recv_timeout(LONG), Ok(worker));
    });
}

#[test]
fn a_task_that_is_woken_while_it_runs_runs_again() {
    in_runtime(|runtime, _| {
        let (sender, receiver) = mpsc::channel();
        let mut left = 1000;
        let count = poll_fn(move |context| {
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
        receiver.recv_timeout(LONG).unwrap();
    });
}

#[test]
fn a_task_that_another_thread_wakes_while_it_runs_here_runs_here_again() {
    in_runtime(|runtime, _| {
        let here = thread::current().id();
        let polls = Arc::new(Mutex::new(Vec::new()));
        let task = polls.clone();
        assist(runtime, || {
            spawn(
                runtime,
                poll_fn(move |context| {
                    let mut polls = task.lock().unwrap();
                    polls.push(thread::current().id());
                    if polls.len() == 3 {
                        return Poll::Ready(());
                    }
                    let waker = context.waker().clone();
                    thread::spawn(move || waker.wake()).join().unwrap();
                    Poll::Pending
                }),
            );
        });
        assert_eq!(*polls.lock().unwrap(), [here; 3]);
    });
}

#[test]
fn a_task_that_is_woken_many_times_before_it_runs_runs_once() {
    in_runtime(|runtime, _| {
        let polls = Arc::new(AtomicUsize::new(0));
        let slot = Arc::new(Mutex::new(None::<Waker>));
        let (counted, kept) = (polls.clone(), slot.clone());
        assist(runtime, || {
            spawn(
                runtime,
                poll_fn(move |context| {
                    counted.fetch_add(1, Ordering::AcqRel);
                    *kept.lock().unwrap() = Some(context.waker().clone());
                    Poll::Pending
                }),
            );
        });
        let waker = slot.lock().unwrap().take().unwrap();
        assist(runtime, || (0..5).for_each(|_| waker.wake_by_ref()));
        assert_eq!(polls.load(Ordering::Acquire), 2);
    });
}

/// Panics when it is dropped.
struct Trap;

impl Drop for Trap {
    fn drop(&mut self) {
        panic!("as it should, when dropped");
    }
}

#[test]
fn a_panic_ends_its_task_only() {
    in_runtime(|runtime, _| {
        for assisted in [true, false] {
            let (sender, receiver) = mpsc::channel::<()>();
            let start = || {
                spawn(runtime, async move {
                    let _dropped = sender;
                    panic!("as it should");
                });
                // The trap is dropped with the future that owns it.
                let trap = Trap;
                spawn(
                    runtime,
                    poll_fn(move |_| {
                        let _ = &trap;
                        Poll::Ready(())
                    }),
                );
            };
            if assisted {
                assist(runtime, start);
            } else {
                start();
            }
            assert_eq!(receiver.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));

            let (wake, told) = assist(runtime, || waiting(runtime));
            told.recv_timeout(LONG).unwrap();
            wake.send(()).unwrap();
            told.recv_timeout(LONG).unwrap();
        }
    });
}

#[test]
fn what_was_woken_before_a_panic_of_the_caller_runs() {
    in_runtime(|runtime, _| {
        let started = Mutex::new(None);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            assist(runtime, || {
                *started.lock().unwrap() = Some(waiting(runtime));
                panic!("as it should");
            });
        }));
        assert!(caught.is_err() && !local::assists());
        let (_wake, told) = started.into_inner().unwrap().unwrap();
        assert_eq!(told.try_recv(), Ok(thread::current().id()));
    });
}

/// Wakes a task when it is dropped.
struct Wakes(Option<oneshot::Sender<()>>);

impl Drop for Wakes {
    fn drop(&mut self) {
        let wake = self.0.take().unwrap();
        assist_here(|| wake.send(()).unwrap());
    }
}

thread_local! {
    static LAST: RefCell<Option<Wakes>> = const { RefCell::new(None) };
}

#[test]
fn a_task_that_is_woken_by_a_thread_that_ends_runs() {
    in_runtime(|runtime, worker| {
        // Which of two values of a thread is dropped first depends on which was made first.
        for made_first in [true, false] {
            let (wake, told) = waiting(runtime);
            assert_eq!(told.recv_timeout(LONG), Ok(worker));
            let ending = thread::spawn(move || {
                if made_first {
                    LAST.set(None);
                }
                assist_here(|| ());
                LAST.set(Some(Wakes(Some(wake))));
            });
            ending.join().unwrap();
            told.recv_timeout(LONG).unwrap();
        }
    });
}
