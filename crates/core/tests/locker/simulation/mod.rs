//! A store, a network and a clock in simulated time, and lockers on them.
//!
//! * [`server`]: the locks, with the results that the scripts give in Redis.
//! * [`network`]: what lies between a locker and the server, and what goes wrong there.
//! * this file: the world with its clock, and a locker in it.

use std::{
    num::NonZeroU64,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) use lock_inc_core::Hold;
use lock_inc_core::{
    Clock, Mode, Moment, Random, Resource, Timer,
    error::Result,
    locker::{Event, Listener, Locker, LostReason},
    options::{LockOptions, Wait},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::network::{Chaos, EventFault, Fault, Network};
use self::{network::Connections, server::Server};

mod network;
pub(crate) mod server;

pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// What the listeners know the calls by.
pub(crate) const CALL: u64 = 7;

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Follows the paused clock of tokio, and is ahead of it by as long as the machine has slept.
pub(crate) struct SimulatedClock {
    start: Instant,
    slept: AtomicU64,
}

impl Clock for SimulatedClock {
    fn now(&self) -> Moment {
        let slept = Duration::from_millis(self.slept.load(Ordering::Relaxed));
        Moment::at(secs(1000) + self.start.elapsed() + slept)
    }
}

/// A source of chance that can be repeated.
#[derive(Debug)]
pub(crate) struct Dice(Mutex<u64>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// A number below `sides`. (`SplitMix64`.)
    pub(crate) fn roll(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    pub(crate) fn choose<T>(&self, these: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) -> T {
        let mut these = these.into_iter();
        let index = self.roll(these.len() as u64);
        these.nth(usize::try_from(index).unwrap()).unwrap()
    }
}

impl Random for Dice {
    fn unit(&self) -> f64 {
        f64::from(u32::try_from(self.roll(1 << 20)).unwrap()) / f64::from(1 << 20)
    }
}

/// The world in which a test takes place.
pub(crate) struct World {
    clock: Arc<SimulatedClock>,
    timer: Arc<Timer>,
    server: Arc<Mutex<Server>>,
    connections: Arc<Connections>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(SimulatedClock { start: Instant::now(), slept: AtomicU64::new(0) });
        let server = Arc::<Mutex<Server>>::default();
        let timer = Timer::new(clock.clone());
        Self { connections: Connections::new(clock.clone(), server.clone()), clock, timer, server }
    }

    pub(crate) fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// All machines sleep for so long: clocks go on, timers do not.
    pub(crate) fn sleep_of_the_machine(&self, time: Duration) {
        self.clock.slept.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// A locker with a connection.
    pub(crate) async fn peer(&self, id: u32) -> Peer {
        let network = Network::new(id, self.connections.clone());
        let heard = Arc::<Heard>::default();
        let locker = Locker::open(
            network.clone(),
            self.timer.clone(),
            Arc::new(Dice::new(id.into())),
            Box::new(Recorder(heard.clone())),
            COMMAND_TIMEOUT,
            u128::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        );
        network.connect();
        // Whoever has just connected knows it.
        sleep(ms(5)).await;
        Peer { locker, network, heard }
    }

    pub(crate) async fn peers<const N: usize>(&self) -> [Peer; N] {
        let mut peers = Vec::new();
        for id in 1..=N {
            peers.push(self.peer(u32::try_from(id).unwrap()).await);
        }
        peers.try_into().unwrap_or_else(|_| unreachable!())
    }

    /// Who holds this by the server's account: the token.
    pub(crate) fn holder(&self, name: &str) -> Option<u64> {
        let holders = self.holders(name);
        assert!(holders.len() < 2, "several hold it: {holders:?}");
        holders.first().copied()
    }

    /// The same where it may be shared, in the order in which it was granted.
    pub(crate) fn holders(&self, name: &str) -> Vec<u64> {
        self.leases(name).into_iter().map(|(token, _)| token).collect()
    }

    fn leases(&self, name: &str) -> Vec<(u64, Duration)> {
        self.server().leases(Resource::new(name).hash(), self.now())
    }

    /// How many wait for this.
    pub(crate) fn waiting(&self, name: &str) -> usize {
        self.server().waiting(Resource::new(name).hash())
    }

    /// What is left of the lease by the server's account, or of that which lasts longest.
    pub(crate) fn lease_left(&self, name: &str) -> Duration {
        self.leases(name).into_iter().map(|(_, left)| left).max().unwrap_or_default()
    }

    /// What is left of this one.
    pub(crate) fn lease_left_of(&self, hold: &Hold) -> Option<Duration> {
        let leases = self.server().leases(hold.resource.hash(), self.now());
        leases.into_iter().find(|(token, _)| *token == hold.token).map(|(_, left)| left)
    }

    /// Waits, in simulated time, until something is so.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        for _ in 0..200_000 {
            if condition() {
                return;
            }
            sleep(ms(1)).await;
        }
        panic!("never: {what}");
    }
}

/// What the listener of a locker was told.
#[derive(Default)]
pub(crate) struct Heard {
    events: Mutex<Vec<Event>>,
    silent_for_ms: AtomicU64,
}

struct Recorder(Arc<Heard>);

impl Listener for Recorder {
    fn tell(&self, event: Event) -> bool {
        if !matches!(event, Event::Alive) {
            self.0.events.lock().unwrap().push(event);
        }
        true
    }

    fn nudge(&self) -> Duration {
        ms(self.0.silent_for_ms.load(Ordering::Relaxed))
    }
}

/// A locker, its network, and what it has told.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) locker: Arc<Locker>,
    pub(crate) network: Arc<Network>,
    heard: Arc<Heard>,
}

pub(crate) type Call<T> = JoinHandle<Result<T>>;

impl Peer {
    /// Without waiting.
    pub(crate) async fn try_lock(&self, name: &str) -> Result<Hold> {
        self.lock(name, options()).await
    }

    pub(crate) fn lock(&self, name: &str, options: LockOptions) -> Pending<Hold> {
        self.lock_until(name, options, None)
    }

    /// As the addon calls it; until the token is cancelled.
    pub(crate) fn lock_until(
        &self,
        name: &str,
        options: LockOptions,
        cancelled: Option<CancellationToken>,
    ) -> Pending<Hold> {
        let (locker, resource) = (self.locker.clone(), Resource::new(name));
        let call = self.locker.call(async move {
            match options.wait {
                Wait::No => locker.lock(resource, options, cancelled).await,
                _ => locker.lock_or_wait(resource, options, cancelled).await,
            }
        });
        Box::pin(call)
    }

    pub(crate) fn lock_all(&self, names: &[&str], options: LockOptions) -> Pending<Vec<Hold>> {
        self.lock_all_until(names, options, None)
    }

    pub(crate) fn lock_all_until(
        &self,
        names: &[&str],
        options: LockOptions,
        cancelled: Option<CancellationToken>,
    ) -> Pending<Vec<Hold>> {
        let resources = names.iter().map(|name| Resource::new(name)).collect();
        let call = self.locker.clone().lock_all(resources, options, cancelled);
        Box::pin(self.locker.call(call))
    }

    /// The same, in the background from now on: it has been sent before this returns to the caller's next await.
    pub(crate) fn start(&self, name: &str, options: LockOptions) -> Call<Hold> {
        tokio::spawn(self.lock(name, options))
    }

    /// Waits for ever, in the background, and is in the queue when this returns.
    pub(crate) async fn queue(&self, world: &World, name: &str) -> Call<Hold> {
        self.queue_with(world, name, waits()).await
    }

    /// The same, on other terms.
    pub(crate) async fn queue_with(&self, world: &World, name: &str, options: LockOptions) -> Call<Hold> {
        let before = world.waiting(name);
        let call = self.start(name, options);
        world.until("in the queue", || world.waiting(name) > before).await;
        sleep(ms(3)).await;
        call
    }

    pub(crate) async fn unlock(&self, hold: &Hold) -> Result<bool> {
        let unlock = self.locker.clone().unlock(hold.nonce);
        self.locker.call(unlock).await
    }

    pub(crate) async fn unlock_lost(&self, name: &str) -> Result<()> {
        let unlock = self.locker.clone().unlock_lost(Resource::new(name));
        self.locker.call(unlock).await
    }

    pub(crate) async fn extend(&self, hold: &Hold, lease: Duration) -> Result<bool> {
        let extend = self.locker.clone().extend(hold.nonce, lease);
        self.locker.call(extend).await
    }

    pub(crate) fn remaining(&self, hold: &Hold) -> Duration {
        self.locker.remaining(hold.nonce)
    }

    pub(crate) fn holds(&self, hold: &Hold) -> bool {
        !self.remaining(hold).is_zero()
    }

    pub(crate) async fn close(&self) {
        self.locker.clone().close().await;
    }

    /// Since when the thread that uses the locks gives no sign of life.
    pub(crate) fn is_silent_for(&self, time: Duration) {
        self.heard.silent_for_ms.store(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// The losses that were told, by token.
    pub(crate) fn losses(&self) -> Vec<(u64, LostReason)> {
        let lost = |event: &Event| match event {
            Event::Lost(hold, reason) => Some((hold.token, *reason)),
            _ => None,
        };
        self.heard.events.lock().unwrap().iter().filter_map(lost).collect()
    }

    pub(crate) fn has_lost(&self, hold: &Hold) -> bool {
        self.losses().iter().any(|(token, _)| *token == hold.token)
    }

    /// How many renewals were told.
    pub(crate) fn renewals(&self) -> usize {
        self.heard.events.lock().unwrap().iter().filter(|event| matches!(event, Event::Renewed(_))).count()
    }

    /// Why renewals have failed, as was told.
    pub(crate) fn failed_renewals(&self) -> Vec<(u64, &'static str)> {
        let failed = |event: &Event| match event {
            Event::RenewalFailed(hold, error) => Some((hold.token, error.code())),
            _ => None,
        };
        self.heard.events.lock().unwrap().iter().filter_map(failed).collect()
    }

    /// Who was told to wait: the call, for what, and the token of whoever was in the way.
    pub(crate) fn waits_told(&self) -> Vec<(u64, String, Option<u64>)> {
        let waiting = |event: &Event| match event {
            Event::Waiting(call, contention) => {
                let name = contention.resource.as_ref().map(|resource| resource.name().to_string());
                let token = contention.holder.as_ref().and_then(|holder| holder.token);
                Some((call.get(), name.unwrap(), token))
            }
            _ => None,
        };
        self.heard.events.lock().unwrap().iter().filter_map(waiting).collect()
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.heard.events.lock().unwrap().last(), Some(Event::Ended))
    }
}

/// A call that has not been polled yet.
pub(crate) type Pending<T> = std::pin::Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// One attempt, a minute, no renewal.
pub(crate) fn options() -> LockOptions {
    LockOptions {
        expire: secs(60),
        mode: Mode::Exclusive,
        steal: false,
        wait: Wait::No,
        retry_interval: ms(200),
        renew: false,
        max_hold: None,
        max_blocked: None,
        observed: true,
        call: NonZeroU64::new(CALL),
    }
}

/// The same, for ever.
pub(crate) fn waits() -> LockOptions {
    LockOptions { wait: Wait::Forever, ..options() }
}

pub(crate) fn waits_for(time: Duration) -> LockOptions {
    LockOptions { wait: Wait::AtMost(time), ..options() }
}

pub(crate) fn expires(time: Duration) -> LockOptions {
    LockOptions { expire: time, ..options() }
}

pub(crate) fn renewed(time: Duration) -> LockOptions {
    LockOptions { renew: true, ..expires(time) }
}
