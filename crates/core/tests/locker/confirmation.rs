//! Grants that count only when replicas have them.

use lock_inc_core::{
    Resource,
    error::{Error, Result, Unreplicated},
    options::{LockOptions, Wait},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::simulation::{
    Call, Fault, Peer, World, expires, ms, options, renewed, secs, server::Kind, waits, waits_for,
};

/// Everything that looks at a grant again, or at who holds it before a steal.
fn looks(world: &World, client: u32) -> usize {
    world.server().count(client, Kind::Other)
}

/// Two replicas are wanted within this time, and none follows.
fn wants_two(peer: &Peer, seconds: u64) {
    peer.network.replicate_to(2, secs(seconds));
}

fn unreplicated<T: std::fmt::Debug>(result: Result<T>) -> Unreplicated {
    match result {
        Err(Error::Unreplicated(unreplicated)) => *unreplicated,
        other => panic!("{other:?}"),
    }
}

/// A call that has the lock, which does not count yet.
async fn granted<T>(world: &World, name: &str, call: Call<T>) -> Call<T> {
    world.until("granted", || world.holder(name).is_some()).await;
    sleep(ms(50)).await;
    assert!(!call.is_finished(), "nothing is confirmed");
    call
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_no_replicas_asks_for_none() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    ann.lock_all(&["b", "c"], options()).await.unwrap();
    let call = ann.queue(&world, "a").await;
    ann.unlock(&hold).await.unwrap();
    call.await.unwrap().unwrap();
    assert_eq!(looks(&world, 1), 0);
}

#[tokio::test(start_paused = true)]
async fn a_grant_counts_as_soon_as_enough_replicas_have_it() {
    let world = World::new();
    let [ann] = world.peers().await;
    wants_two(&ann, 1);
    for options in [options(), waits(), waits_for(secs(5)), LockOptions { steal: true, ..options() }] {
        ann.network.are_following(1);
        let call = granted(&world, "a", ann.start("a", options)).await;
        ann.network.are_following(2);
        sleep(ms(1)).await;
        assert!(call.is_finished());
        let hold = call.await.unwrap().unwrap();
        assert!(ann.holds(&hold) && world.holder("a") == Some(hold.token));
        assert!(ann.unlock(&hold).await.unwrap());
    }
    ann.network.are_following(3);
    assert!(ann.try_lock("a").await.is_ok(), "more than enough");
}

#[tokio::test(start_paused = true)]
async fn with_too_few_the_lock_is_given_back_and_the_error_says_how_many() {
    let world = World::new();
    let [ann] = world.peers().await;
    wants_two(&ann, 3);
    for (following, options) in [(0, options()), (1, waits())] {
        ann.network.are_following(following);
        let before = world.now();
        let error = unreplicated(ann.lock("a", options).await);
        let waited = before.until(world.now());
        assert!((secs(3)..ms(3010)).contains(&waited), "{waited:?}");
        assert_eq!((error.resource.name(), error.wanted, error.confirmed), ("a", 2, following));
        assert_eq!(
            error.to_string(),
            format!(
                "The lock was given back: {following} of 2 replicas had it within 3000 ms; \
                 settings.replicaTimeout is the limit, and settings.replicas the number"
            )
        );
        sleep(ms(5)).await;
        assert!(world.holder("a").is_none() && ann.losses().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_given_back_goes_to_the_next_who_waits() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    wants_two(&ann, 1);
    let call = granted(&world, "a", ann.start("a", waits())).await;
    let next = ben.queue(&world, "a").await;
    unreplicated(call.await.unwrap());
    let before = world.now();
    let hold = next.await.unwrap().unwrap();
    assert!(before.until(world.now()) < ms(10));
    assert_eq!(world.holder("a"), Some(hold.token));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_handed_over_is_confirmed_whichever_way_it_comes() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    wants_two(&ben, 1);
    for is_own in [false, true] {
        for follows in [false, true] {
            ben.network.are_following(2);
            let holder = if is_own { &ben } else { &ann };
            let hold = holder.try_lock("a").await.unwrap();
            let call = ben.queue(&world, "a").await;
            ben.network.are_following(1);
            // In the answer to its own unlock, or as an event.
            assert!(holder.unlock(&hold).await.unwrap());
            let call = granted(&world, "a", call).await;
            if follows {
                ben.network.are_following(2);
                let hold = call.await.unwrap().unwrap();
                assert!(ben.unlock(&hold).await.unwrap());
            } else {
                assert_eq!(unreplicated(call.await.unwrap()).confirmed, 1);
                sleep(ms(5)).await;
                assert_eq!(world.holder("a"), None);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_call_goes_on_meanwhile() {
    let world = World::new();
    let [ann] = world.peers().await;
    wants_two(&ann, 30);
    for (options, limit, option) in [
        (waits_for(secs(2)), secs(2), "options.timeout"),
        (options(), secs(10), "settings.commandTimeout"),
        (waits(), secs(10), "settings.commandTimeout"),
    ] {
        let before = world.now();
        let error = unreplicated(ann.lock("a", options).await);
        assert_eq!((error.limit.time, error.limit.option), (limit, option));
        assert!((limit..limit + ms(10)).contains(&before.until(world.now())));
        sleep(ms(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_gets_it_at_the_last_moment_has_enough_time_to_find_out() {
    let world = World::new();
    let [ann] = world.peers().await;
    wants_two(&ann, 30);
    ann.network.are_following(2);
    let hold = ann.try_lock("a").await.unwrap();
    ann.network.are_following(0);
    let call = ann.start("a", waits_for(secs(1)));
    sleep(ms(990)).await;
    assert!(ann.unlock(&hold).await.unwrap());
    sleep(ms(30)).await;
    assert!(!call.is_finished());
    ann.network.are_following(2);
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_meanwhile_gives_the_lock_back() {
    let world = World::new();
    let [ann] = world.peers().await;
    wants_two(&ann, 5);
    for options in [options(), waits()] {
        let cancelled = CancellationToken::new();
        let call = tokio::spawn(ann.lock_until("a", options, Some(cancelled.clone())));
        let call = granted(&world, "a", call).await;
        cancelled.cancel();
        assert!(matches!(call.await.unwrap(), Err(Error::Cancelled)));
        sleep(ms(5)).await;
        assert!(world.holder("a").is_none());
        let cancelled = CancellationToken::new();
        let call = tokio::spawn(ann.lock_all_until(&["a", "b"], options, Some(cancelled.clone())));
        let call = granted(&world, "b", call).await;
        cancelled.cancel();
        assert!(matches!(call.await.unwrap(), Err(Error::Cancelled)));
        sleep(ms(5)).await;
        assert!(world.server().is_empty(world.now()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_meanwhile_gives_the_lock_back() {
    let world = World::new();
    let [ann] = world.peers().await;
    wants_two(&ann, 5);
    for options in [options(), waits()] {
        let call = granted(&world, "a", ann.start("a", options)).await;
        call.abort();
        sleep(ms(5)).await;
        assert!(world.holder("a").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_closes_meanwhile_lets_it_settle() {
    for follows in [true, false] {
        let world = World::new();
        let [ann] = world.peers().await;
        wants_two(&ann, 1);
        let call = granted(&world, "a", ann.start("a", waits())).await;
        let closing = tokio::spawn({
            let ann = ann.clone();
            async move { ann.close().await }
        });
        sleep(ms(100)).await;
        assert!(!closing.is_finished());
        if follows {
            ann.network.are_following(2);
        }
        closing.await.unwrap();
        let result = call.await.unwrap();
        assert_eq!(result.is_ok(), follows);
        assert_eq!(world.holder("a").is_some(), follows, "given back before the connection ends");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_renewed_meanwhile_if_it_is_to_be() {
    let world = World::new();
    let [ann] = world.peers().await;
    wants_two(&ann, 8);
    let call = ann.start("a", renewed(secs(2)));
    sleep(secs(7)).await;
    assert!(world.holder("a").is_some() && !call.is_finished());
    ann.network.are_following(2);
    let hold = call.await.unwrap().unwrap();
    assert!(ann.holds(&hold) && ann.losses().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_meanwhile_lets_nobody_in_and_is_no_reason_to_try_for_ever() {
    let world = World::new();
    let [ann] = world.peers().await;
    wants_two(&ann, 5);
    for options in [expires(secs(2)), LockOptions { wait: Wait::Forever, ..expires(secs(2)) }] {
        let before = world.now();
        unreplicated(ann.lock("a", options).await);
        assert!((secs(5)..ms(5010)).contains(&before.until(world.now())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_the_server_has_lost_does_not_count() {
    let world = World::new();
    let [ann] = world.peers().await;
    wants_two(&ann, 5);
    ann.network.are_following(2);
    ann.network.plan(Kind::Other, Fault::RequestLate(ms(100)));
    let call = ann.start("a", waits());
    world.until("granted", || world.holder("a").is_some()).await;
    world.server().lose_everything();
    let error = unreplicated(call.await.unwrap());
    assert_eq!((error.confirmed, error.wanted), (0, 2));
    assert_eq!(&*error.cause.unwrap().message, "the primary has lost the lock");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_taken_away_meanwhile_is_tried_for_again() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    wants_two(&ann, 5);
    ann.network.are_following(2);
    for options in [options(), waits()] {
        for names in [&["a"][..], &["b", "a"]] {
            // The look comes after the lock has been taken away, and the news of that before its answer.
            ann.network.plan(Kind::Other, Fault::RequestLate(ms(100)));
            let call = match names {
                [name] => {
                    let lock = ann.lock(name, options);
                    tokio::spawn(async move { Ok(vec![lock.await?]) })
                }
                names => tokio::spawn(ann.lock_all(names, options)),
            };
            world.until("granted", || world.holder("a").is_some()).await;
            let first = world.holder("a");
            assert!(ben.locker.clone().force_unlock(Resource::new("a")).await.unwrap());
            let holds = call.await.unwrap().unwrap();
            assert_eq!(holds.len(), names.len());
            assert_ne!(first, world.holder("a"));
            for hold in &holds {
                assert!(ann.holds(hold) && world.holder(hold.resource.name()) == Some(hold.token));
                assert!(ann.unlock(hold).await.unwrap());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn several_are_confirmed_together_and_given_back_together() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    wants_two(&ann, 2);
    let error = unreplicated(ann.lock_all(&["b", "a"], options()).await);
    assert_eq!((error.resource.name(), error.confirmed), ("b", 0));
    sleep(ms(5)).await;
    assert!(world.server().is_empty(world.now()));
    // One after the other: only what all of it waits for at the end is asked about.
    let held = ben.try_lock("b").await.unwrap();
    let before = looks(&world, 1);
    let call = tokio::spawn(ann.lock_all(&["a", "b"], waits()));
    world.until("in the queue", || world.waiting("b") == 1).await;
    sleep(secs(10)).await;
    assert_eq!(looks(&world, 1), before);
    assert!(ben.unlock(&held).await.unwrap());
    let call = granted(&world, "b", call).await;
    ann.network.are_following(2);
    let holds = call.await.unwrap().unwrap();
    assert_eq!((holds.len(), looks(&world, 1)), (2, before + 2));
    for hold in &holds {
        assert!(ann.unlock(hold).await.unwrap());
    }
    // The same, with too few.
    ann.network.are_following(0);
    let held = ben.try_lock("b").await.unwrap();
    let call = tokio::spawn(ann.lock_all(&["a", "b"], waits()));
    world.until("in the queue", || world.waiting("b") == 1).await;
    assert!(ben.unlock(&held).await.unwrap());
    unreplicated(call.await.unwrap());
    sleep(ms(5)).await;
    assert!(world.server().is_empty(world.now()));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_to_say_is_told_of_as_such() {
    let world = World::new();
    let [ann] = world.peers().await;
    wants_two(&ann, 2);
    ann.network.are_following(2);
    ann.network.plan(Kind::Other, Fault::Refused { passing: false, carried_out: false });
    assert!(matches!(ann.lock("a", waits()).await, Err(Error::Refused(_))));
    sleep(ms(5)).await;
    assert!(world.server().is_empty(world.now()));
}
