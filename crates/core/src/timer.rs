//! Sleeping by a clock that goes on while the machine sleeps.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{Clock, Moment};

/// How often the clock is compared with the runtime's.
const TICK: Duration = Duration::from_secs(1);

/// So far apart the two may be without a word.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Wakes at moments of a clock.
///
/// The runtime's own timers stand still while the machine sleeps, so all who sleep here look at the clock again when it has
/// got ahead of these. One task finds that out for all of them; while nobody sleeps here, it does not run.
pub struct Timer {
    clock: Arc<dyn Clock>,
    ticks: Arc<Ticks>,
    _ticker: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Ticks {
    /// Changes when the clock has got ahead.
    ahead: watch::Sender<()>,
    somebody_sleeps: Notify,
}

impl Timer {
    /// Must be called on the runtime.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let ticks = Arc::<Ticks>::default();
        let ticker = tokio::spawn(tick(clock.clone(), ticks.clone()));
        Arc::new(Self { clock, ticks, _ticker: AbortOnDropHandle::new(ticker) })
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Sleeps until then; for ever without a moment. After a sleep of the machine it may be a second late.
    pub(crate) async fn sleep_until(&self, moment: Option<Moment>) {
        let Some(moment) = moment else { return pending().await };
        let mut ahead = self.ticks.ahead.subscribe();
        self.ticks.somebody_sleeps.notify_one();
        loop {
            let left = self.now().until(moment);
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = sleep(left) => {}
                _ = ahead.changed() => {}
            }
        }
    }
}

async fn tick(clock: Arc<dyn Clock>, ticks: Arc<Ticks>) {
    loop {
        ticks.somebody_sleeps.notified().await;
        let mut start = (clock.now(), Instant::now());
        while ticks.ahead.receiver_count() > 0 {
            sleep(TICK).await;
            let ahead = start.0.until(clock.now()).saturating_sub(start.1.elapsed());
            if ahead > TOLERANCE {
                ticks.ahead.send_replace(());
                start = (clock.now(), Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::mutex::lock;

    /// Follows the paused clock of tokio, and is ahead of it by this.
    struct TestClock(Instant, Mutex<Duration>);

    impl Clock for TestClock {
        fn now(&self) -> Moment {
            Moment::at(self.0.elapsed() + *lock(&self.1))
        }
    }

    fn clock() -> Arc<TestClock> {
        Arc::new(TestClock(Instant::now(), Mutex::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_at_the_moment() {
        let clock = clock();
        let timer = Timer::new(clock.clone());
        let moment = clock.now() + Duration::from_mins(1);
        timer.sleep_until(Some(moment)).await;
        assert!(moment.until(clock.now()) <= Duration::from_millis(1) && clock.now() >= moment);
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_all_when_the_machine_has_slept_beyond_the_moment() {
        let clock = clock();
        let timer = Timer::new(clock.clone());
        let sleepers: Vec<_> = (0..100)
            .map(|_| {
                let (timer, moment) = (timer.clone(), clock.now() + Duration::from_hours(1));
                tokio::spawn(async move { timer.sleep_until(Some(moment)).await })
            })
            .collect();
        sleep(Duration::from_secs(5)).await;
        assert!(sleepers.iter().all(|sleeper| !sleeper.is_finished()));
        *lock(&clock.1) += Duration::from_hours(2);
        let before = Instant::now();
        for sleeper in sleepers {
            sleeper.await.unwrap();
        }
        assert!(before.elapsed() <= TICK, "after {:?}", before.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn sleeps_on_when_the_machine_has_slept_for_less() {
        let clock = clock();
        let timer = Timer::new(clock.clone());
        let moment = clock.now() + Duration::from_hours(1);
        let sleeper = tokio::spawn({
            let timer = timer.clone();
            async move { timer.sleep_until(Some(moment)).await }
        });
        sleep(Duration::from_secs(5)).await;
        *lock(&clock.1) += Duration::from_mins(30);
        sleeper.await.unwrap();
        assert!(clock.now() >= moment);
        assert!(moment.until(clock.now()) < Duration::from_millis(10));
    }
}
