//! A call that is made after the sleeper has decided to sleep is seen by it, or wakes it.

use std::{
    sync::Arc,
    task::{Context, Waker},
};

use lock_inc_exec::activity::Activity;
use lock_inc_exec_loom::{Woken, check};
use loom::{model, thread};

/// Used once, as loom wants it: by one call.
fn activity() -> Arc<Activity> {
    let activity = Activity::new();
    assert!(activity.poll_begun_since(0, &Context::from_waker(Waker::noop())).is_pending());
    activity.begin();
    assert!(activity.poll_begun_since(0, &Context::from_waker(Waker::noop())).is_ready());
    Arc::new(activity)
}

fn call(activity: &Arc<Activity>) -> thread::JoinHandle<()> {
    let activity = activity.clone();
    thread::spawn(move || activity.begin())
}

#[test]
fn a_call_is_seen_or_wakes() {
    model(|| {
        let (activity, woken) = (activity(), Woken::new());
        let other = call(&activity);
        let waker = woken.waker();
        let context = Context::from_waker(&waker);
        let seen = activity.begun();
        let sleeps = activity.poll_begun_since(seen, &context).is_pending();
        other.join().unwrap();
        if sleeps && seen == 1 {
            assert_eq!(woken.times(), 1);
            assert!(activity.poll_begun_since(seen, &context).is_ready());
        }
    });
}

#[test]
fn two_calls_are_seen_or_wake_and_the_next_sleep_is_none_the_worse() {
    check(4, || {
        let (activity, woken) = (activity(), Woken::new());
        let others = [call(&activity), call(&activity)];
        let waker = woken.waker();
        let context = Context::from_waker(&waker);
        let mut seen = 1;
        if activity.poll_begun_since(seen, &context).is_ready() {
            seen = activity.begun();
            assert!(seen > 1);
        }
        let before = woken.times();
        let sleeps = activity.poll_begun_since(seen, &context).is_pending();
        for other in others {
            other.join().unwrap();
        }
        if sleeps && seen < 3 {
            assert!(woken.times() > before, "asleep, with calls under way");
        }
    });
}

#[test]
fn a_sleeper_that_polls_again_with_another_waker_is_woken_by_that() {
    model(|| {
        let activity = activity();
        let [first, second] = [Woken::new(), Woken::new()];
        assert!(activity.poll_begun_since(1, &Context::from_waker(&first.waker())).is_pending());
        let other = call(&activity);
        let sleeps = activity.poll_begun_since(1, &Context::from_waker(&second.waker())).is_pending();
        other.join().unwrap();
        if sleeps {
            assert_eq!(second.times(), 1);
        }
    });
}
