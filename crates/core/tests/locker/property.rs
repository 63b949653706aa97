//! Lockers over one store, with faults by chance: what is true whatever happens.
//!
//! Left out is what a locker cannot know of: a lock that was taken away (by a forced unlock, a purge, a store without its
//! data) while the event about it was lost. Its holder relies on it until the next renewal.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use lock_inc_core::options::{LockOptions, Wait};
use proptest::{collection::vec, option, prelude::*};
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::simulation::{Chaos, Dice, Hold, Peer, World, ms, options, secs};

const NAMES: [&str; 2] = ["a", "b"];

/// Longer than any call may take in these scenarios, and than any lease.
const LONG: Duration = secs(1200);

#[derive(Clone, Debug)]
struct Use {
    name: usize,
    wait: Wait,
    expire: Duration,
    renew: bool,
    /// When the caller loses patience.
    cancel_after: Option<Duration>,
    hold_for: Duration,
    /// A lease that is asked for half-way.
    extend: Option<Duration>,
    /// Whether it is unlocked in the end.
    unlock: bool,
}

#[derive(Clone, Debug)]
enum Act {
    Use(Use),
    /// The connection is lost for so long.
    Disconnect(Duration),
    /// The machines sleep.
    Sleep(Duration),
    LoseQueue,
}

fn duration(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(ms)
}

fn uses() -> impl Strategy<Value = Use> {
    let wait = prop_oneof![
        Just(Wait::No),
        duration(0..8000).prop_map(Wait::AtMost),
        Just(Wait::Forever),
        Just(Wait::Forever),
    ];
    let expire = prop_oneof![duration(20..500), duration(500..8000), Just(secs(60))];
    let hold_for = prop_oneof![duration(0..10), duration(0..9000)];
    let extend = option::of(prop_oneof![duration(20..1000), duration(1000..60_000)]);
    (
        0..NAMES.len(),
        wait,
        expire,
        any::<bool>(),
        option::weighted(0.2, duration(0..9000)),
        hold_for,
        extend,
        prop::bool::weighted(0.9),
    )
        .prop_map(|(name, wait, expire, renew, cancel_after, hold_for, extend, unlock)| Use {
            name,
            wait,
            expire,
            renew,
            cancel_after,
            hold_for,
            extend,
            unlock,
        })
}

fn acts() -> impl Strategy<Value = Vec<(usize, Duration, Act)>> {
    let act = prop_oneof![
        12 => uses().prop_map(Act::Use),
        1 => duration(1..9000).prop_map(Act::Disconnect),
        1 => duration(1..12_000).prop_map(Act::Sleep),
        1 => Just(Act::LoseQueue),
    ];
    vec((0..3usize, prop_oneof![duration(0..20), duration(0..3000)], act), 1..25)
}

/// Who believes to hold what, and the last token that somebody was given.
#[derive(Default)]
struct Beliefs {
    holds: Vec<(usize, Hold)>,
    tokens: HashMap<usize, u64>,
}

struct Scene {
    world: World,
    peers: [Peer; 3],
    beliefs: Mutex<Beliefs>,
}

impl Scene {
    /// Somebody was given a lock.
    fn on_granted(&self, peer: usize, name: usize, hold: &Hold) {
        let mut beliefs = self.beliefs.lock().unwrap();
        for (other, held) in &beliefs.holds {
            let both = held.resource == hold.resource && self.peers[*other].holds(held);
            assert!(!both, "{peer} was given {hold:?} while {other} relies on {held:?}");
        }
        let last = beliefs.tokens.insert(name, hold.token);
        assert!(last.is_none_or(|last| last < hold.token), "{last:?}, {hold:?}");
        beliefs.holds.push((peer, hold.clone()));
    }

    /// Whatever is relied on, the store keeps for longer.
    fn check(&self) {
        for (peer, hold) in &self.beliefs.lock().unwrap().holds {
            let relied_on = self.peers[*peer].remaining(hold);
            if !relied_on.is_zero() {
                let (server, hash, now) = (self.world.server(), hold.resource.hash(), self.world.now());
                let (holder, left) = (server.holder(hash, now), server.lease_left(hash, now));
                assert!(
                    holder == Some(hold.token) && relied_on <= left,
                    "{peer} relies on {hold:?} for {relied_on:?}; the store has {holder:?} for {left:?}",
                );
            }
        }
    }

    async fn act(self: Arc<Self>, index: usize, what: Use) {
        let Use { name, wait, expire, renew, cancel_after, hold_for, extend, unlock } = what;
        let peer = &self.peers[index];
        // What is never unlocked is not kept for ever.
        let max_hold = (!unlock).then_some(secs(15));
        let options = LockOptions { wait, expire, renew, max_hold, ..options() };
        let cancelled = CancellationToken::new();
        if let Some(after) = cancel_after {
            let cancelled = cancelled.clone();
            tokio::spawn(async move {
                sleep(after).await;
                cancelled.cancel();
            });
        }
        let call = peer.lock_until(NAMES[name], options, Some(cancelled));
        let Ok(hold) = timeout(LONG, call).await.expect("every call settles") else { return };
        self.on_granted(index, name, &hold);
        assert!(peer.holds(&hold), "nobody is let in too late");
        sleep(hold_for / 2).await;
        if let Some(lease) = extend {
            let extended = peer.extend(&hold, lease);
            let _ = timeout(LONG, extended).await.expect("every call settles");
        }
        sleep(hold_for / 2).await;
        if unlock {
            let was_lost = peer.has_lost(&hold);
            let unlocked = timeout(LONG, peer.unlock(&hold)).await.expect("every call settles");
            assert!(!(was_lost && matches!(unlocked, Ok(true))), "lost is lost");
            assert!(!peer.holds(&hold));
            self.beliefs.lock().unwrap().holds.retain(|(_, held)| held != &hold);
        }
    }
}

async fn play(seed: u64, percent: u64, acts: Vec<(usize, Duration, Act)>) {
    let world = World::new();
    let peers = world.peers().await;
    for (peer, seed) in peers.iter().zip(seed..) {
        peer.network.set_chaos(Some(Chaos { dice: Dice::new(seed), percent }));
    }
    let scene = Arc::new(Scene { world, peers, beliefs: Mutex::default() });
    let scene_again = scene.clone();
    let observer = tokio::spawn(async move {
        loop {
            scene_again.check();
            sleep(ms(101)).await;
        }
    });
    let mut calls = Vec::new();
    for (peer, pause, act) in acts {
        sleep(pause).await;
        match act {
            Act::Use(what) => calls.push(tokio::spawn(scene.clone().act(peer, what))),
            Act::Disconnect(time) => {
                let network = scene.peers[peer].network.clone();
                network.disconnect();
                tokio::spawn(async move {
                    sleep(time).await;
                    network.connect();
                });
            }
            Act::Sleep(time) => scene.world.sleep_of_the_machine(time),
            Act::LoseQueue => scene.world.server().lose_queue(),
        }
    }
    for call in calls {
        call.await.unwrap();
    }
    for peer in &scene.peers {
        timeout(LONG, peer.close()).await.expect("a locker can be closed");
    }
    sleep(secs(200)).await;
    assert!(!observer.is_finished(), "what is relied on is kept");
    assert!(scene.world.server().is_empty(scene.world.now()), "nothing is left");
    for (index, peer) in scene.peers.iter().enumerate() {
        assert!(peer.has_ended());
        let mut lost: Vec<_> = peer.losses().into_iter().map(|(token, _)| token).collect();
        let told = lost.len();
        lost.sort_unstable();
        lost.dedup();
        assert_eq!(lost.len(), told, "a loss is told once");
        for (_, hold) in scene.beliefs.lock().unwrap().holds.iter().filter(|(held, _)| *held == index) {
            assert!(lost.contains(&hold.token), "and it is told: {hold:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_rely_on_a_lock_at_once_every_call_settles_and_nothing_is_left(
        seed in any::<u32>(), percent in 0..40u64, acts in acts(),
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(seed.into(), percent, acts));
    }
}
