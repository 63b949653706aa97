//! Whoever waits for a [`Readiness`] takes what was announced, or is woken.

use std::{
    sync::Arc,
    task::{Context, Waker},
};

use lock_inc_exec::readiness::Readiness;
use lock_inc_exec_loom::{Woken, check};
use loom::{
    model,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Not ready, and used once, as loom wants it.
fn readiness() -> Arc<Readiness> {
    let readiness = Readiness::new(false);
    assert!(readiness.announce().is_none());
    assert!(readiness.poll_take(&Context::from_waker(Waker::noop())).is_ready());
    Arc::new(readiness)
}

/// What has come. It is written before it is announced.
fn come() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

fn announce(readiness: &Arc<Readiness>, come: &Arc<AtomicUsize>) -> thread::JoinHandle<()> {
    let (readiness, come) = (readiness.clone(), come.clone());
    thread::spawn(move || {
        come.fetch_add(1, Ordering::Relaxed);
        if let Some(waker) = readiness.announce() {
            waker.wake();
        }
    })
}

#[test]
fn an_announcement_is_taken_or_wakes() {
    model(|| {
        let (readiness, come, woken) = (readiness(), come(), Woken::new());
        let other = announce(&readiness, &come);
        let waker = woken.waker();
        let context = Context::from_waker(&waker);
        let taken = readiness.poll_take(&context).is_ready();
        if taken {
            assert_eq!(come.load(Ordering::Relaxed), 1);
        }
        other.join().unwrap();
        if !taken {
            assert_eq!(woken.times(), 1);
            assert!(readiness.poll_take(&context).is_ready());
        }
    });
}

#[test]
fn the_last_of_two_announcements_is_taken_or_wakes() {
    check(4, || {
        let (readiness, come, woken) = (readiness(), come(), Woken::new());
        let others = [announce(&readiness, &come), announce(&readiness, &come)];
        let waker = woken.waker();
        let context = Context::from_waker(&waker);
        let mut seen = 0;
        if readiness.poll_take(&context).is_ready() {
            seen = come.load(Ordering::Relaxed);
            assert!(seen > 0);
        }
        let waits = readiness.poll_take(&context).is_pending();
        if !waits {
            seen = come.load(Ordering::Relaxed);
        }
        for other in others {
            other.join().unwrap();
        }
        // All that has come was seen, or somebody was told to look, or finds it at the next look.
        assert!(seen == 2 || woken.times() > 0 || readiness.poll_take(&context).is_ready());
        if waits && seen < 2 {
            assert!(woken.times() > 0, "asleep, with something to take");
        }
    });
}

#[test]
fn another_waker_takes_the_place_of_the_first() {
    model(|| {
        let (readiness, come) = (readiness(), come());
        let [first, second] = [Woken::new(), Woken::new()];
        assert!(readiness.poll_take(&Context::from_waker(&first.waker())).is_pending());
        let other = announce(&readiness, &come);
        let waits = readiness.poll_take(&Context::from_waker(&second.waker())).is_pending();
        other.join().unwrap();
        if waits {
            assert_eq!(second.times(), 1);
        }
    });
}

#[test]
fn an_announcement_is_not_lost_behind_one_that_is_put_back() {
    model(|| {
        let (readiness, come, woken) = (readiness(), come(), Woken::new());
        let other = announce(&readiness, &come);
        let waker = woken.waker();
        let context = Context::from_waker(&waker);
        readiness.restore();
        assert!(readiness.poll_take(&context).is_ready());
        let seen = come.load(Ordering::Relaxed);
        let waits = readiness.poll_take(&context).is_pending();
        other.join().unwrap();
        if waits && seen == 0 {
            assert_eq!(woken.times(), 1);
        }
    });
}
