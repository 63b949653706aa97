use std::{
    future::poll_fn,
    mem,
    sync::{Mutex, mpsc},
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::tasks::spawn;

type Log = Arc<Mutex<Vec<&'static str>>>;

/// Writes down its name, and then does something else, if it has to, the first time.
struct Named {
    name: &'static str,
    log: Log,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Flush for Named {
    fn flush(&self) {
        self.log.lock().unwrap().push(self.name);
        let then = self.then.lock().unwrap().take();
        if let Some(then) = then {
            then();
        }
    }
}

fn named(name: &'static str, log: &Log, then: impl FnOnce() + Send + 'static) -> Arc<dyn Flush> {
    Arc::new(Named { name, log: log.clone(), then: Mutex::new(Some(Box::new(then))) })
}

/// Nobody drives it: all is done by the thread of the test.
fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn written(log: &Log) -> Vec<&'static str> {
    mem::take(&mut log.lock().unwrap())
}

#[test]
fn without_a_turn_whoever_sends_flushes() {
    let log = Log::default();
    assert!(!is_open() && !defer(&named("one", &log, || ())));
    let runtime = runtime();
    end(runtime.handle());
    assert!(written(&log).is_empty());
}

#[test]
fn what_is_put_off_is_flushed_once_and_in_order_when_the_turn_ends() {
    let (log, runtime) = (Log::default(), runtime());
    let [one, two] = ["one", "two"].map(|name| named(name, &log, || ()));
    begin();
    begin();
    assert!(is_open() && defer(&one) && defer(&two) && defer(&one));
    assert!(written(&log).is_empty());
    end(runtime.handle());
    assert_eq!(written(&log), ["one", "two"]);
    assert!(!is_open() && !defer(&one));

    begin();
    assert!(defer(&two));
    end(runtime.handle());
    end(runtime.handle());
    assert_eq!(written(&log), ["two"]);
}

#[test]
fn the_turn_of_one_thread_is_not_that_of_another() {
    let log = Log::default();
    begin();
    thread::scope(|scope| {
        scope.spawn(|| assert!(!is_open() && !defer(&named("one", &log, || ()))));
    });
    end(runtime().handle());
}

#[test]
fn tasks_run_before_what_they_put_off_in_one_call() {
    let (log, runtime) = (Log::default(), runtime());
    let send = named("flush", &log, || ());
    assist(runtime.handle(), || {
        for name in ["first", "second"] {
            let (log, send) = (log.clone(), send.clone());
            spawn(runtime.handle(), async move {
                log.lock().unwrap().push(name);
                assert!(defer(&send));
            });
        }
    });
    assert_eq!(written(&log), ["first", "second", "flush"]);
    assert!(!is_open());
}

#[test]
fn tasks_do_not_wait_for_the_end_of_a_turn_but_what_they_put_off_does() {
    let (log, runtime) = (Log::default(), runtime());
    let send = named("flush", &log, || ());
    begin();
    let task = log.clone();
    assist(runtime.handle(), || {
        spawn(runtime.handle(), async move {
            task.lock().unwrap().push("task");
            assert!(defer(&send));
        });
    });
    assert_eq!(written(&log), ["task"]);
    assert!(is_open());
    end(runtime.handle());
    assert_eq!(written(&log), ["flush"]);
}

#[test]
fn a_turn_that_begins_or_ends_while_the_thread_assists_holds_from_then_on() {
    let (log, runtime) = (Log::default(), runtime());
    let send = named("flush", &log, || ());
    assist(runtime.handle(), || {
        assert!(defer(&send));
        begin();
    });
    assert!(is_open() && written(&log).is_empty());
    assist(runtime.handle(), || {
        end(runtime.handle());
        assert!(is_open() && written(&log).is_empty());
    });
    assert!(!is_open());
    assert_eq!(written(&log), ["flush"]);
}

#[test]
fn a_flush_may_wake_tasks_and_put_off_another_before_the_turn_is_over() {
    let (log, runtime) = (Log::default(), runtime());
    let slot = Arc::new(Mutex::new(None::<Waker>));
    let last = named("last", &log, || ());
    let (kept, task, mut woken) = (slot.clone(), log.clone(), false);
    assist(runtime.handle(), || {
        spawn(
            runtime.handle(),
            poll_fn(move |context| {
                if mem::replace(&mut woken, true) {
                    task.lock().unwrap().push("task");
                    assert!(defer(&last));
                    return Poll::Ready(());
                }
                *kept.lock().unwrap() = Some(context.waker().clone());
                Poll::Pending
            }),
        );
    });
    begin();
    let waker = slot.lock().unwrap().take().unwrap();
    assert!(defer(&named("first", &log, move || waker.wake())));
    end(runtime.handle());
    assert_eq!(written(&log), ["first", "task", "last"]);
}

#[test]
fn what_is_put_off_while_it_is_flushed_is_flushed_again() {
    let (log, runtime) = (Log::default(), runtime());
    let own = Arc::new(Mutex::new(None::<Arc<dyn Flush>>));
    let again = own.clone();
    let flush = named("flush", &log, move || {
        assert!(again.lock().unwrap().take().is_some_and(|flush| defer(&flush)));
    });
    *own.lock().unwrap() = Some(flush.clone());
    begin();
    assert!(defer(&flush));
    end(runtime.handle());
    assert_eq!(written(&log), ["flush", "flush"]);
}

#[test]
fn a_panic_of_a_flush_ends_that_flush_only() {
    let (log, runtime) = (Log::default(), runtime());
    begin();
    assert!(defer(&named("one", &log, || panic!("as it should"))));
    assert!(defer(&named("two", &log, || ())));
    end(runtime.handle());
    assert_eq!(written(&log), ["one", "two"]);
    assert!(!is_open());
}

#[test]
fn a_thread_that_ends_within_a_turn_flushes() {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        begin();
        let flush = named("flush", &Log::default(), move || sender.send(is_open()).unwrap());
        assert!(defer(&flush));
    })
    .join()
    .unwrap();
    assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(false));
}
