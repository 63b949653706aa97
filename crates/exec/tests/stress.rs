//! No wake-up is lost, however two threads that wake a task meet.
//!
//! Each task waits for two values, which two threads send at the same time: one assists, so it runs the task while the
//! other is about to wake it. Where the state of a task is stored instead of exchanged, between one task in ten thousand
//! and one in a million is not woken here. `LOCK_INC_STRESS=2000000` has so many tasks, best with `--release`.

use std::{
    env,
    hint::spin_loop,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use lock_inc_exec::{assist, spawn};
use tokio::{runtime::Builder, sync::oneshot};

/// Without any progress for so long, what is left is lost.
const PATIENCE: Duration = Duration::from_secs(5);
const TASKS: usize = 20_000;
const BATCH: usize = 100;

#[test]
fn no_wake_up_is_lost() {
    let tasks = env::var("LOCK_INC_STRESS").map_or(TASKS, |tasks| tasks.parse().unwrap());
    let runtime = Builder::new_current_thread().build().unwrap();
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = thread::spawn(move || drop(runtime.block_on(stopped)));

    // How many values each of the two has sent, or is about to send.
    let [here, there] = [(), ()].map(|()| Arc::new(AtomicUsize::new(0)));
    let (senders, batches) = mpsc::sync_channel::<Vec<oneshot::Sender<()>>>(1);
    let (follows, leads) = (there.clone(), here.clone());
    let other = thread::spawn(move || {
        for (turn, sender) in batches.into_iter().flatten().enumerate() {
            wait(|| leads.load(Ordering::Acquire) > turn);
            let _ = sender.send(());
            follows.store(turn + 1, Ordering::Release);
        }
    });

    let done = Arc::new(AtomicUsize::new(0));
    let mut turn = 0;
    while turn < tasks {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        assist(&handle, || {
            for _ in 0..BATCH.min(tasks - turn) {
                let (sender, first) = oneshot::channel::<()>();
                ours.push(sender);
                let (sender, second) = oneshot::channel::<()>();
                theirs.push(sender);
                let done = done.clone();
                spawn(&handle, async move {
                    let _ = tokio::join!(first, second);
                    done.fetch_add(1, Ordering::AcqRel);
                });
            }
        });
        senders.send(theirs).unwrap();
        for sender in ours {
            wait(|| there.load(Ordering::Acquire) == turn);
            here.store(turn + 1, Ordering::Release);
            // The other needs a moment to see it, and varies, to be met everywhere.
            for _ in 0..24 + turn % 40 {
                spin_loop();
            }
            assist(&handle, || sender.send(()).unwrap());
            turn += 1;
        }
    }
    drop(senders);
    other.join().unwrap();

    // Some are still on their way to the runtime.
    let (mut seen, mut since) = (0, Instant::now());
    while seen < tasks && since.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
        let now = done.load(Ordering::Acquire);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    drop(stop);
    worker.join().unwrap();
    assert_eq!(tasks - seen, 0, "of {tasks} tasks so many were not woken");
}

/// Spins, as the two are to meet; sleeps where the other has no core to run on.
fn wait(until: impl Fn() -> bool) {
    let mut spins = 0;
    while !until() {
        spins += 1;
        if spins % 4096 == 0 {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}
