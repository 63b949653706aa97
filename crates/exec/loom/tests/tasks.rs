//! A task sees what was written before it was woken, whoever wakes it and whatever it does at the moment.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

use lock_inc_exec::tasks::{Runnable, assist_here, spawn_or};
use lock_inc_exec_loom::check;
use loom::{
    model,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// A task that is done when it has seen a number of writes, each of which is followed by a wake.
struct Task {
    wanted: usize,
    written: AtomicUsize,
    polls: AtomicUsize,
    done: AtomicUsize,
    /// Not seen by loom. It is set by the first poll, before there are other threads.
    waker: Mutex<Option<Waker>>,
}

impl Task {
    /// Polls it once, in this thread, so that it can be woken.
    fn start(wanted: usize, elsewhere: impl Fn(Runnable) + Send + Sync + 'static) -> Arc<Self> {
        let task = Arc::new(Self {
            wanted,
            written: AtomicUsize::new(0),
            polls: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            waker: Mutex::default(),
        });
        let polled = task.clone();
        assist_here(|| {
            let work = poll_fn(move |context| {
                polled.polls.fetch_add(1, Ordering::Relaxed);
                if polled.written.load(Ordering::Relaxed) == polled.wanted {
                    polled.done.store(1, Ordering::Relaxed);
                    return Poll::Ready(());
                }
                polled.waker.lock().unwrap().get_or_insert_with(|| context.waker().clone());
                Poll::Pending
            });
            spawn_or(elsewhere, work);
        });
        assert_eq!(task.polls.load(Ordering::Relaxed), 1);
        task
    }

    fn waker(&self) -> Waker {
        self.waker.lock().unwrap().clone().unwrap()
    }

    /// Nothing orders this but the wake that follows.
    fn write(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    /// To be asked when all threads have ended.
    fn assert_done(&self) {
        assert_eq!(self.done.load(Ordering::Relaxed), 1, "a wake-up was lost");
        // The first, and one for each wake at the most.
        assert!(self.polls.load(Ordering::Relaxed) <= 1 + self.wanted + 1);
    }
}

/// Threads that took the place of the runtime, each for one task.
#[derive(Clone, Default)]
struct Elsewhere(Arc<Mutex<Vec<thread::JoinHandle<()>>>>);

impl Elsewhere {
    fn run(&self, task: Runnable) {
        let thread = thread::spawn(move || _ = task.run());
        self.0.lock().unwrap().push(thread);
    }

    /// Waits for them, and for those that they start.
    fn join(&self) {
        loop {
            let Some(thread) = self.0.lock().unwrap().pop() else { return };
            thread.join().unwrap();
        }
    }
}

fn start(wanted: usize) -> (Arc<Task>, Elsewhere) {
    let elsewhere = Elsewhere::default();
    let run = elsewhere.clone();
    (Task::start(wanted, move |task| run.run(task)), elsewhere)
}

#[test]
fn woken_by_a_thread_that_assists_while_it_is_to_run_in_another_that_does() {
    model(|| {
        let (task, elsewhere) = start(1);
        let (other, waker) = (task.clone(), task.waker());
        let waking = thread::spawn(move || {
            assist_here(|| {
                other.write();
                waker.wake();
            });
        });
        // A wake that has nothing to show: the task may be scheduled, running, or idle when the other comes.
        assist_here(|| task.waker().wake());
        waking.join().unwrap();
        elsewhere.join();
        task.assert_done();
    });
}

#[test]
fn woken_by_a_thread_that_does_not_assist_while_it_is_to_run_in_one_that_does() {
    check(3, || {
        let (task, elsewhere) = start(1);
        let (other, waker) = (task.clone(), task.waker());
        let waking = thread::spawn(move || {
            other.write();
            waker.wake();
        });
        assist_here(|| task.waker().wake());
        waking.join().unwrap();
        elsewhere.join();
        task.assert_done();
    });
}

#[test]
fn woken_by_two_at_a_time_each_of_which_may_run_it() {
    check(2, || {
        let (task, elsewhere) = start(2);
        let (other, waker) = (task.clone(), task.waker());
        let waking = thread::spawn(move || {
            assist_here(|| {
                other.write();
                waker.wake();
            });
        });
        assist_here(|| {
            task.write();
            task.waker().wake();
        });
        waking.join().unwrap();
        elsewhere.join();
        task.assert_done();
    });
}

#[test]
fn woken_by_two_others_at_once_it_is_scheduled_once() {
    model(|| {
        // Tasks that go elsewhere are left until both have ended.
        let left = Arc::new(Mutex::new(Vec::new()));
        let leave = left.clone();
        let task = Task::start(2, move |task| leave.lock().unwrap().push(task));
        let waking = [(), ()].map(|()| {
            let (task, waker) = (task.clone(), task.waker());
            thread::spawn(move || {
                task.write();
                waker.wake();
            })
        });
        for thread in waking {
            thread.join().unwrap();
        }
        assert_eq!(left.lock().unwrap().len(), 1);
        for task in left.lock().unwrap().drain(..) {
            task.run();
        }
        task.assert_done();
    });
}

#[test]
fn woken_before_its_first_poll_is_over() {
    // Here the first poll gives its waker away to another thread, and goes on meanwhile.
    model(|| {
        let elsewhere = Elsewhere::default();
        let run = elsewhere.clone();
        let [written, done] = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
        let (input, output) = (written.clone(), done.clone());
        let threads = elsewhere.clone();
        let mut first = true;
        let work = poll_fn(move |context| {
            if std::mem::take(&mut first) {
                let (waker, written) = (context.waker().clone(), written.clone());
                let waking = thread::spawn(move || {
                    written.store(1, Ordering::Relaxed);
                    waker.wake();
                });
                threads.0.lock().unwrap().push(waking);
            }
            if input.load(Ordering::Relaxed) == 0 {
                return Poll::Pending;
            }
            output.store(1, Ordering::Relaxed);
            Poll::Ready(())
        });
        assist_here(|| spawn_or(move |task| run.run(task), work));
        elsewhere.join();
        assert_eq!(done.load(Ordering::Relaxed), 1, "a wake-up was lost");
    });
}
