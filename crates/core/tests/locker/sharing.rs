//! Locks that several hold at once.

use lock_inc_core::{Mode, Resource, error::Error, locker::LostReason, options::LockOptions};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::simulation::{
    EventFault, World, expires, ms, options, renewed, secs, server::Kind, waits, waits_for,
};

fn shared(options: LockOptions) -> LockOptions {
    limited(0, options)
}

/// So many may share it.
fn limited(limit: u32, options: LockOptions) -> LockOptions {
    LockOptions { mode: Mode::shared(limit), ..options }
}

#[tokio::test(start_paused = true)]
async fn each_of_those_who_share_a_lock_has_its_own_token_lease_and_renewal_and_unlocks_its_own() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let lasting = ann.lock("a", shared(renewed(secs(3)))).await.unwrap();
    let short = ben.lock("a", shared(expires(secs(5)))).await.unwrap();
    let long = ann.lock("a", shared(options())).await.unwrap();
    assert!(lasting.token < short.token && short.token < long.token);
    assert_eq!(world.holders("a"), [lasting.token, short.token, long.token]);
    sleep(secs(20)).await;
    assert_eq!(ben.losses(), [(short.token, LostReason::Expired)]);
    assert_eq!(world.holders("a"), [lasting.token, long.token]);
    assert!(ann.remaining(&lasting) <= secs(3) && ann.remaining(&long) > secs(39));
    assert!(ann.remaining(&lasting) < world.lease_left_of(&lasting).unwrap());
    assert!(world.lease_left_of(&lasting).unwrap() <= secs(3), "that of another one is longer");
    assert!(ann.extend(&long, secs(30)).await.unwrap());
    assert!(world.lease_left_of(&long).unwrap() <= secs(30));
    assert!(ann.unlock(&long).await.unwrap());
    assert_eq!(world.holders("a"), [lasting.token]);
    assert!(ann.holds(&lasting) && !ann.holds(&long));
    assert!(!ben.unlock(&short).await.unwrap());
    assert_eq!(ann.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_call_waits_for_all_who_share_the_lock_and_nobody_overtakes_it() {
    let world = World::new();
    let [ann, ben, cat] = world.peers().await;
    let first = ann.lock("a", shared(options())).await.unwrap();
    let second = ben.lock("a", shared(options())).await.unwrap();
    let alone = cat.queue(&world, "a").await;
    assert!(matches!(ben.lock("a", shared(options())).await, Err(Error::Locked(_))), "somebody waits");
    let behind = ann.queue_with(&world, "a", shared(waits())).await;
    assert!(ann.unlock(&first).await.unwrap());
    sleep(ms(10)).await;
    assert!(!alone.is_finished() && !behind.is_finished());
    assert!(ben.unlock(&second).await.unwrap());
    let alone = alone.await.unwrap().unwrap();
    sleep(secs(20)).await;
    assert!(!behind.is_finished());
    assert_eq!(world.holders("a"), [alone.token]);
    assert!(cat.unlock(&alone).await.unwrap());
    let behind = behind.await.unwrap().unwrap();
    assert_eq!(world.holders("a"), [behind.token]);
}

#[tokio::test(start_paused = true)]
async fn those_who_share_and_are_next_enter_together_in_order_of_arrival() {
    let world = World::new();
    let [ann, ben, cat] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let mut together = Vec::new();
    for peer in [&ben, &ann, &cat, &ben, &ann] {
        together.push(peer.queue_with(&world, "a", shared(waits())).await);
    }
    let alone = cat.queue(&world, "a").await;
    let behind = ben.queue_with(&world, "a", shared(waits())).await;
    // What the answer to its own unlock says needs no event.
    ann.network.plan_event(EventFault::Lost);
    ann.network.plan_event(EventFault::Lost);
    let before = world.now();
    assert!(ann.unlock(&hold).await.unwrap());
    let mut tokens = Vec::new();
    for call in together {
        tokens.push(call.await.unwrap().unwrap().token);
    }
    assert!(before.until(world.now()) < ms(5));
    assert!(tokens.is_sorted_by(|first, second| first < second), "{tokens:?}");
    assert_eq!(world.holders("a"), tokens);
    sleep(secs(20)).await;
    assert_eq!(world.holders("a"), tokens, "each has asked for the rest of its lease");
    assert!(!alone.is_finished() && !behind.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_lock_goes_at_once_to_all_of_the_same_locker_who_are_next() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let calls = [
        ann.queue_with(&world, "a", shared(waits())).await,
        ann.queue_with(&world, "a", shared(waits())).await,
    ];
    let before = world.now();
    ann.locker.abandon(hold.nonce);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(before.until(world.now()) < ms(5));
}

#[tokio::test(start_paused = true)]
async fn no_more_share_a_lock_than_the_one_that_comes_in_allows() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let long = ann.lock("a", limited(2, options())).await.unwrap();
    let short = ben.lock("a", limited(2, expires(secs(9)))).await.unwrap();
    let Err(Error::Locked(contention)) = ben.lock("a", limited(2, options())).await else { panic!("three") };
    assert_eq!(contention.holder.unwrap().token, Some(short.token), "the first that has to go");
    let third = ann.lock("a", limited(3, options())).await.unwrap();
    let next = ben.queue_with(&world, "a", limited(3, waits())).await;
    let last = ann.queue_with(&world, "a", limited(3, waits())).await;
    assert!(ann.unlock(&long).await.unwrap());
    let next = next.await.unwrap().unwrap();
    assert_eq!(world.holders("a"), [short.token, third.token, next.token]);
    // The shortest lease ends by itself, and the next poll comes then.
    let before = world.now();
    let last = last.await.unwrap().unwrap();
    assert!(before.until(world.now()) < secs(9) + ms(350));
    assert_eq!(world.holders("a"), [third.token, next.token, last.token]);
}

#[tokio::test(start_paused = true)]
async fn whoever_stood_before_a_call_that_may_share_the_lock_and_leaves_the_queue_lets_it_in() {
    for patient in [true, false] {
        let world = World::new();
        let [ann, ben, cat] = world.peers().await;
        let first = ann.lock("a", shared(options())).await.unwrap();
        let cancel = CancellationToken::new();
        let alone = if patient { waits() } else { waits_for(secs(1)) };
        let alone = tokio::spawn(ben.lock_until("a", alone, Some(cancel.clone())));
        sleep(ms(5)).await;
        // One of the same locker, too, and an exclusive one that is in nobody's way yet.
        let calls = [
            cat.queue_with(&world, "a", shared(waits())).await,
            ben.queue_with(&world, "a", shared(waits())).await,
        ];
        let behind = cat.queue(&world, "a").await;
        let before = world.now();
        if patient {
            cancel.cancel();
        }
        assert!(alone.await.unwrap().is_err());
        let mut tokens = vec![first.token];
        for call in calls {
            tokens.push(call.await.unwrap().unwrap().token);
        }
        let waited = before.until(world.now());
        assert!(waited < if patient { ms(5) } else { secs(1) }, "{waited:?}");
        assert_eq!(world.holders("a"), tokens);
        assert!(ann.holds(&first) && !behind.is_finished());
        assert_eq!(world.waiting("a"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_brings_the_lock_to_all_who_are_next() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    ann.lock("a", expires(secs(3))).await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(ben.queue_with(&world, "a", shared(waits())).await);
        // Of none of them it hears otherwise.
        ben.network.plan_event(EventFault::Lost);
    }
    let alone = ben.queue(&world, "a").await;
    let mut tokens = Vec::new();
    for call in calls {
        tokens.push(call.await.unwrap().unwrap().token);
    }
    assert_eq!(world.holders("a"), tokens);
    assert_eq!(world.server().count(2, Kind::Poll), 1);
    assert!(!alone.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_last_poll_finds_that_the_lock_has_come_to_several() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let calls: Vec<_> = (0..3).map(|_| ben.start("a", shared(waits_for(secs(2))))).collect();
    sleep(secs(1)).await;
    for _ in &calls {
        ben.network.plan_event(EventFault::Lost);
    }
    assert!(ann.unlock(&hold).await.unwrap());
    let before = world.now();
    let mut tokens = Vec::new();
    for call in calls {
        tokens.push(call.await.unwrap().unwrap().token);
    }
    assert!(before.until(world.now()) < secs(1) + ms(10));
    assert_eq!(world.holders("a"), tokens);
    assert_eq!(world.server().count(2, Kind::Poll), 1);
}

#[tokio::test(start_paused = true)]
async fn polls_make_several_lost_events_good_before_the_first_leases_end() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..5 {
        calls.push(ben.queue_with(&world, "a", shared(waits())).await);
    }
    sleep(secs(20)).await;
    for _ in &calls {
        ben.network.plan_event(EventFault::Lost);
    }
    assert!(ann.unlock(&hold).await.unwrap());
    let granted = world.holders("a");
    let mut tokens = Vec::new();
    for call in calls {
        tokens.push(call.await.unwrap().unwrap().token);
    }
    assert_eq!(tokens, granted, "the same grants, and none of them anew");
}

#[tokio::test(start_paused = true)]
async fn a_forced_unlock_takes_a_shared_lock_from_all_who_hold_it() {
    let world = World::new();
    let [ann, ben, cat] = world.peers().await;
    let holds = [
        ann.lock("a", shared(options())).await.unwrap(),
        ann.lock("a", shared(renewed(secs(3)))).await.unwrap(),
        ben.lock("a", shared(options())).await.unwrap(),
    ];
    sleep(secs(2)).await;
    let next = cat.queue(&world, "a").await;
    assert!(cat.locker.clone().force_unlock(Resource::new("a")).await.unwrap());
    let next = timeout(secs(60), next).await.expect("free").unwrap().unwrap();
    sleep(ms(10)).await;
    let [first, second, third] = holds.map(|hold| (hold.token, LostReason::Purged));
    let mut losses = ann.losses();
    losses.sort_unstable_by_key(|(token, _)| *token);
    assert_eq!(losses, [first, second]);
    assert_eq!(ben.losses(), [third]);
    assert_eq!(world.holders("a"), [next.token]);
}

#[tokio::test(start_paused = true)]
async fn a_shared_lock_that_is_lost_before_the_call_has_a_turn_is_tried_for_again_as_a_shared_one() {
    let world = World::new();
    let [ann, ben, cat] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.queue_with(&world, "a", shared(waits())).await;
    let force = cat.locker.clone().force_unlock(Resource::new("a"));
    let (unlocked, forced) = tokio::join!(ann.unlock(&hold), force);
    assert!(unlocked.unwrap() && forced.unwrap());
    let first = call.await.unwrap().unwrap();
    assert_eq!(world.server().grants().iter().filter(|client| **client == 2).count(), 2);
    let second = ann.lock("a", shared(options())).await.unwrap();
    assert_eq!(world.holders("a"), [first.token, second.token]);
    assert!(ben.holds(&first));
}
