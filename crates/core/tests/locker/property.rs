//! Lockers over one store, with faults by chance: what is true whatever happens.
//!
//! A locker cannot know of a lock that was taken away, by a steal or a forced unlock, while the event about it was lost. Its
//! holder relies on it until the next renewal, or until the lease that it had then ends. Left out is a store without its data.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use lock_inc_core::{
    Mode, Resource,
    options::{LockOptions, Wait},
};
use proptest::{collection::vec, option, prelude::*};
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::simulation::{Chaos, Dice, Hold, Peer, Pending, World, ms, options, secs};

const NAMES: [&str; 2] = ["a", "b"];

/// By then a locker that has a connection, and whose messages and answers come in time, knows that a lock was taken away.
const TOLD_WITHIN: Duration = ms(20);

/// Longer than any call may take in these scenarios, and than any lease.
const LONG: Duration = secs(1200);

#[derive(Clone, Debug)]
struct Use {
    /// One, or all of these at once.
    names: Vec<usize>,
    mode: Mode,
    steal: bool,
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
    ForceUnlock(usize),
    /// So many replicas have from now on what this locker has been granted.
    Follow(u32),
}

/// The mode of a lock, and whether it is to be stolen.
fn terms() -> impl Strategy<Value = (Mode, bool)> {
    prop_oneof![
        3 => Just((Mode::Exclusive, false)),
        4 => (0..4u32).prop_map(|limit| (Mode::shared(limit), false)),
        1 => Just((Mode::Exclusive, true)),
    ]
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
        (0..NAMES.len(), prop::bool::weighted(0.25)),
        terms(),
        wait,
        expire,
        any::<bool>(),
        option::weighted(0.2, duration(0..9000)),
        hold_for,
        extend,
        prop::bool::weighted(0.9),
    )
        .prop_map(
            |((name, both), (mode, steal), wait, expire, renew, cancel_after, hold_for, extend, unlock)| {
                Use {
                    names: if both && !steal { vec![name, 1 - name] } else { vec![name] },
                    mode,
                    steal,
                    wait: if steal { Wait::No } else { wait },
                    expire,
                    renew,
                    cancel_after,
                    hold_for,
                    extend,
                    unlock,
                }
            },
        )
}

fn acts() -> impl Strategy<Value = Vec<(usize, Duration, Act)>> {
    let act = prop_oneof![
        12 => uses().prop_map(Act::Use),
        1 => duration(1..9000).prop_map(Act::Disconnect),
        1 => duration(1..12_000).prop_map(Act::Sleep),
        1 => Just(Act::LoseQueue),
        1 => (0..NAMES.len()).prop_map(Act::ForceUnlock),
        2 => (0..2u32).prop_map(Act::Follow),
    ];
    vec((0..3usize, prop_oneof![duration(0..20), duration(0..3000)], act), 1..25)
}

/// A lock that somebody was given.
#[derive(Clone, Debug)]
struct Given {
    peer: usize,
    mode: Mode,
    hold: Hold,
}

/// Who believes to hold what, and the greatest token that somebody was given.
#[derive(Default)]
struct Beliefs {
    given: Vec<Given>,
    tokens: [u64; NAMES.len()],
}

fn ensure(condition: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(broken()) }
}

struct Scene {
    world: World,
    peers: [Peer; 3],
    beliefs: Mutex<Beliefs>,
    /// Nothing goes wrong on the way.
    is_calm: bool,
}

impl Scene {
    /// Somebody was given a lock, who began to ask for it when the greatest token was `last`.
    fn on_granted(&self, given: Given, name: usize, last: u64) {
        let Given { peer, mode, ref hold } = given;
        assert!(hold.token > last, "{last}, {hold:?}");
        let granted = self.world.server().grant(hold.token);
        assert_eq!(
            granted,
            Some((u32::try_from(peer).unwrap() + 1, hold.nonce)),
            "the token of another lock"
        );
        assert_eq!(hold.nonce.is_shared(), mode.is_shared());
        let mut beliefs = self.beliefs.lock().unwrap();
        beliefs.tokens[name] = beliefs.tokens[name].max(hold.token);
        beliefs.given.push(given);
        drop(beliefs);
        self.check();
    }

    /// Whatever is relied on, the store keeps for longer, unless it was taken away; and those who rely on a lock at once
    /// share it.
    fn check(&self) {
        // When this panics nothing is locked any more, and everybody else goes on.
        self.examine().unwrap_or_else(|broken| panic!("{broken}"));
    }

    fn examine(&self) -> Result<(), String> {
        let (server, now) = (self.world.server(), self.world.now());
        let mut relied_on: HashMap<&str, Vec<&Given>> = HashMap::new();
        let beliefs = self.beliefs.lock().unwrap();
        for given in &beliefs.given {
            let Given { peer, hold, .. } = given;
            let remaining = self.peers[*peer].remaining(hold);
            if remaining.is_zero() {
                continue;
            }
            if let Some(taken) = server.taken(hold.token) {
                let is_old = now + remaining <= taken.until;
                ensure(is_old, || format!("{given:?} is renewed after it was taken away"))?;
                let since = taken.at.elapsed();
                let may_be_unknown = !self.is_calm || since < TOLD_WITHIN;
                ensure(may_be_unknown, || format!("{given:?} was taken away, and not told for {since:?}"))?;
                continue;
            }
            let leases = server.leases(hold.resource.hash(), now);
            let is_kept = leases.iter().any(|(token, left)| *token == hold.token && remaining <= *left);
            ensure(is_kept, || format!("{given:?} is relied on for {remaining:?}; there are {leases:?}"))?;
            relied_on.entry(hold.resource.hash()).or_default().push(given);
        }
        for together in relied_on.values_mut() {
            // In the order in which they came in.
            together.sort_by_key(|given| given.hold.token);
            for (before, given) in together.iter().enumerate() {
                let limit = match given.mode {
                    Mode::Exclusive => 1,
                    Mode::Shared { limit } => limit.map_or(usize::MAX, |limit| limit.get() as usize),
                };
                let is_alone = together.len() == 1;
                let fits = before < limit && (is_alone || given.mode.is_shared());
                ensure(fits, || format!("{given:?} is one of {together:?}"))?;
            }
        }
        Ok(())
    }

    async fn act(self: Arc<Self>, index: usize, what: Use) {
        let Use { names, mode, steal, wait, expire, renew, cancel_after, hold_for, extend, unlock } = what;
        let peer = &self.peers[index];
        // What is never unlocked is not kept for ever.
        let max_hold = (!unlock).then_some(secs(15));
        let options = LockOptions { mode, steal, wait, expire, renew, max_hold, ..options() };
        let cancelled = CancellationToken::new();
        if let Some(after) = cancel_after {
            let cancelled = cancelled.clone();
            tokio::spawn(async move {
                sleep(after).await;
                cancelled.cancel();
            });
        }
        let last = self.beliefs.lock().unwrap().tokens;
        let call: Pending<Vec<Hold>> = if let [name] = names[..] {
            let call = peer.lock_until(NAMES[name], options, Some(cancelled));
            Box::pin(async move { Ok(vec![call.await?]) })
        } else {
            let names: Vec<_> = names.iter().map(|name| NAMES[*name]).collect();
            peer.lock_all_until(&names, options, Some(cancelled))
        };
        let Ok(holds) = timeout(LONG, call).await.expect("every call settles") else { return };
        assert_eq!(holds.len(), names.len(), "all or none");
        for (hold, name) in holds.iter().zip(names) {
            assert_eq!(hold.resource.name(), NAMES[name]);
            self.on_granted(Given { peer: index, mode, hold: hold.clone() }, name, last[name]);
            assert!(peer.holds(hold), "nobody is let in too late");
        }
        sleep(hold_for / 2).await;
        for hold in &holds {
            let Some(lease) = extend else { break };
            let extended = peer.extend(hold, lease);
            let _ = timeout(LONG, extended).await.expect("every call settles");
        }
        sleep(hold_for / 2).await;
        for hold in holds.iter().filter(|_| unlock) {
            let was_lost = peer.has_lost(hold);
            let unlocked = timeout(LONG, peer.unlock(hold)).await.expect("every call settles");
            assert!(!(was_lost && matches!(unlocked, Ok(true))), "lost is lost");
            assert!(!peer.holds(hold));
            self.beliefs.lock().unwrap().given.retain(|given| given.hold != *hold);
        }
    }
}

/// `wants`: those of the lockers want a replica to have what they are granted, within this time.
async fn play(seed: u64, percent: u64, wants: [Option<Duration>; 3], acts: Vec<(usize, Duration, Act)>) {
    let world = World::new();
    let peers = world.peers().await;
    for (peer, seed) in peers.iter().zip(seed..) {
        peer.network.set_chaos(Some(Chaos { dice: Dice::new(seed), percent }));
    }
    for (peer, wants) in peers.iter().zip(wants) {
        if let Some(time) = wants {
            peer.network.replicate_to(1, time);
        }
    }
    let is_cut = acts.iter().any(|(.., act)| matches!(act, Act::Disconnect(_)));
    let is_calm = percent == 0 && !is_cut;
    let scene = Arc::new(Scene { world, peers, beliefs: Mutex::default(), is_calm });
    let scene_again = scene.clone();
    let observer = tokio::spawn(async move {
        loop {
            scene_again.check();
            sleep(ms(31)).await;
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
            Act::Follow(replicas) => scene.peers[peer].network.are_following(replicas),
            Act::ForceUnlock(name) => {
                let locker = scene.peers[peer].locker.clone();
                tokio::spawn(locker.force_unlock(Resource::new(NAMES[name])));
            }
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
        for given in scene.beliefs.lock().unwrap().given.iter().filter(|given| given.peer == index) {
            assert!(lost.contains(&given.hold.token), "and it is told: {given:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn only_who_shares_a_lock_relies_on_it_beside_others_every_call_settles_and_nothing_is_left(
        seed in any::<u32>(), percent in prop_oneof![1 => Just(0), 3 => 0..40u64],
        wants in prop::array::uniform3(option::weighted(0.3, duration(1..3000))), acts in acts(),
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(seed.into(), percent, wants, acts));
    }
}
